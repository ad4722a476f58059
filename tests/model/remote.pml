/* remote.pml - blocks on their way home: core/emma_remote.c, and what feeds it of emma_stash.c.
 *
 * FREER frees blocks of heaps 0 and 1 into its stash and by its outbox; a signal handler on its
 * thread, or on OWNER's, frees one more at any instruction; LONEs have no heap, and free each by
 * itself. OWNER takes back what is returned to heap 0, and hands a block of it out again. Heap 1 is
 * of a thread that does nothing; both heaps share the one chain that the outbox has here. At first
 * the stash is full: block 1 and, freed before it, block 4, which is heap 1's.
 *
 * In every state, so wherever threads stop for good: each list ends, and holds what is there and
 * nothing else; a block is in one list, or live, or in the hands of a thread. Who takes blocks back
 * finds only returned ones, of his own slabs. At the end, if all come there, no block is lost.
 *
 * short: LONES=1 FREES=3 ALLOCS=1
 * short: HANDLERS=1 FREES=3 ALLOCS=1 INTERRUPTED=OWNER
 * check: LONES=1 FREES=4 ALLOCS=2
 * check: LONES=2 FREES=3
 * check: HANDLERS=1 LONES=1 FREES=3 ALLOCS=2
 * check: HANDLERS=1 LONES=1 FREES=3 ALLOCS=2 OUTBOX_FULL=2 AT_END=1
 * check: HANDLERS=1 LONES=1 FREES=3 INTERRUPTED=OWNER
 *
 * broken: SEND_BY_STORE LONES=1
 * broken: SEND_LINKS_ONCE LONES=1
 * broken: SEND_THEN_FORGET
 * broken: CHAIN_OF_ANY
 * broken: OUTBOX_NEXT_LATE
 * broken: CUT_LATE
 * broken: STASH_THEN_LINK
 * broken, short: GATE_OPEN HANDLERS=1
 * broken: GATE_LATE HANDLERS=1
 * broken, short: DRAIN_BY_STORE LONES=1
 * broken: DRAIN_NEXT_LATE LONES=1
 */

#ifndef FREES /* by all threads together */
#define FREES 2
#endif
#ifndef DRAINS
#define DRAINS 2
#endif
#ifndef ALLOCS
#define ALLOCS 1
#endif
#ifndef LONES
#define LONES 0
#endif
#ifndef HANDLERS
#define HANDLERS 0
#endif
#ifndef INTERRUPTED
#define INTERRUPTED FREER
#endif
#ifndef OUTBOX_FULL
#define OUTBOX_FULL 3
#endif
#ifndef AT_END /* looked at then only: a state in which nobody can go on is found, too */
#define AT_END 0
#endif

/* Threads. */
#define FREER 0
#define LONE 1
#define OWNER 2
#define THREADS 3

#define BLOCKS 4
#define heap_of(block) ((block) == BLOCKS -> 1 : 0)
#define NIL 0
#define JUNK 7 /* what a program may leave in a block */

#define STASH_SIZE 2
#define STASH_KEPT 1

/* Where a block is, as who looks from above knows: the model's own, no memory of emma's. */
#define LIVE 0
#define HOME 1
#define RETURNED 2
#define AT 4 /* + thread: in its hands, or what its heap keeps */
byte where[BLOCKS + 1] = { LIVE, 4, LIVE, LIVE, 4 };

byte link[BLOCKS + 1] = { JUNK, 4, JUNK, JUNK, NIL }; /* the first words of blocks */
byte returned[2];                                     /* of heaps 0 and 1 */
byte home;                                            /* heap 0's free list */
bool closed[THREADS];                                 /* the gates of their heaps */

/* FREER's heap: a stash, and the chain that heaps 0 and 1 share. */
byte stash = 1;
byte room = 0;
byte size = STASH_SIZE;
byte first;
byte last = JUNK;
byte owner = JUNK;
byte outbox;

byte frees = FREES;
bool runs[THREADS] = true; /* no handler on it does */
bool over[THREADS];
byte left = 2 + LONES; /* threads that are not over */

/* In the hands of a process: what emma's functions have in variables. */
#define LOCALS byte block, x, next, before, from, to, target, b; bool linked

/* ---- sending ---- */

/* The compare-and-exchange of chain_send, once it succeeds. */
inline publish()
{
    d_step {
        b = from;
        do
        :: b != to ->
           assert(b <= BLOCKS && heap_of(b) == target && where[b] == AT + me);
           where[b] = RETURNED;
           b = link[b]
        :: else -> break
        od;
        assert(b <= BLOCKS && heap_of(b) == target && where[b] == AT + me);
        where[b] = RETURNED;
        returned[target] = from;
        b = NIL
    }
}

/* chain_send of the chain from `from` to `to`, to heap `target`. The exchange may fail though
 * nothing changed. */
inline chain_send()
{
    before = returned[target];
    do
    :: d_step { !linked -> link[to] = before; linked = true }
#ifdef SEND_BY_STORE
    :: atomic { linked -> publish() }; break
#else
    :: atomic { linked && before == returned[target] -> publish() }; break
#ifdef SEND_LINKS_ONCE
    :: linked -> before = returned[target]
#else
    :: d_step { linked -> before = returned[target]; linked = false }
#endif
#endif
    od;
    linked = false;
    d_step { from = NIL; to = NIL; target = 0; before = NIL }
}

inline chain_send_off()
{
#ifdef SEND_THEN_FORGET
    d_step { from = first; to = last; target = owner };
    chain_send();
    first = NIL
#else
    d_step { from = first; to = last; target = owner; first = NIL; last = JUNK; owner = JUNK };
    chain_send()
#endif
}

/* chain_add of block x. */
inline chain_add()
{
#ifndef CHAIN_OF_ANY
    if
    :: first != NIL && owner != heap_of(x) -> chain_send_off()
    :: else
    fi;
#endif
    if
    :: first == NIL -> d_step { owner = heap_of(x); last = x }
    :: else
    fi;
    link[x] = first;
    first = x
}

/* emmai_remote_send_off */
inline send_off()
{
    outbox = 0;
    if
    :: first != NIL -> chain_send_off()
    :: else
    fi
}

/* emmai_remote_send of the list x. */
inline send()
{
    do
    :: x != NIL ->
#ifdef OUTBOX_NEXT_LATE
       chain_add();
       next = link[x];
#else
       next = link[x];
       chain_add();
#endif
       d_step { outbox++; x = next; next = NIL }
    :: else -> break
    od;
    if
    :: outbox >= OUTBOX_FULL -> send_off()
    :: else
    fi
}

/* ---- the stash ---- */

inline stash_make_room()
{
    if
    :: size == 0 -> d_step { size = STASH_SIZE; room = STASH_SIZE }
    :: else ->
       x = link[stash]; /* list_cut */
#ifndef CUT_LATE
       link[stash] = NIL;
#endif
       room = STASH_SIZE - STASH_KEPT;
       send();
#ifdef CUT_LATE
       link[stash] = NIL
#endif
    fi
}

/* emmai_stash_free */
inline stash_free()
{
    if
    :: room == 0 -> stash_make_room()
    :: else
    fi;
#ifdef STASH_THEN_LINK
    d_step { next = stash; stash = block };
    d_step { link[block] = next; next = NIL };
#else
    link[block] = stash;
    stash = block;
#endif
    d_step { room--; block = NIL }
}

/* emmai_stash_give_back */
inline stash_give_back()
{
    d_step { x = stash; stash = NIL; room = 0; size = 0 };
    send();
    send_off()
}

/* ---- frees ---- */

#define is_live(block) (where[block] == LIVE)
#define any_is_live (is_live(1) || is_live(2) || is_live(3)) /* block 4 never is again */

inline take_any()
{
    if
    :: is_live(1) -> block = 1
    :: is_live(2) -> block = 2
    :: is_live(3) -> block = 3
    fi;
    where[block] = AT + me
}

/* emmai_remote_free_alone */
inline free_alone()
{
    d_step { from = block; to = block; target = heap_of(block); block = NIL };
    chain_send()
}

inline slab_free(freed)
{
    link[freed] = home;
    d_step { home = freed; where[freed] = HOME }
}

/* emma_free */
inline free_block()
{
    if
    :: closed[me] -> free_alone()
    :: else ->
#ifdef GATE_LATE
       if
       :: me == OWNER -> slab_free(block); block = NIL
       :: else -> link[block] = stash; closed[me] = true; stash = block; block = NIL
       fi;
#else
#ifndef GATE_OPEN
       closed[me] = true;
#endif
       if
       :: me == OWNER -> slab_free(block); block = NIL
       :: else -> stash_free()
       fi;
#endif
       closed[me] = false
    fi
}

/* ---- taking back ---- */

/* The exchange of emmai_remote_drain, whose x is what it finds then. */
inline take_returned()
{
    returned[0] = NIL;
    b = x;
    do
    :: b != NIL ->
       assert(b <= BLOCKS && where[b] == RETURNED && heap_of(b) == 0);
       where[b] = AT + OWNER;
       b = link[b]
    :: else -> break
    od;
    b = NIL
}

/* emmai_remote_drain */
inline drain()
{
    if
    :: returned[0] == NIL
    :: else ->
#ifdef DRAIN_BY_STORE
       x = returned[0];
       d_step { take_returned() };
#else
       d_step { x = returned[0]; take_returned() };
#endif
       do
       :: x != NIL ->
#ifdef DRAIN_NEXT_LATE
          slab_free(x);
          next = link[x];
#else
          next = link[x];
          slab_free(x);
#endif
          d_step { x = next; next = NIL }
       :: else -> break
       od
    fi
}

/* emma_malloc of a block of heap 0. */
inline allocate()
{
    x = home;
    d_step { home = link[x]; where[x] = AT + OWNER };
    d_step { where[x] = LIVE; link[x] = JUNK; x = NIL }
}

/* ---- the processes ---- */

active proctype Freer() provided (runs[FREER])
{
    LOCALS;
    byte me = FREER;
    do
    :: atomic { frees > 0 && any_is_live -> frees--; take_any() }; free_block()
    :: break
    od;
    closed[me] = true; /* as it leaves the instance */
    stash_give_back();
    d_step { closed[me] = false; over[me] = true; left-- }
}

active [LONES] proctype Lone()
{
    LOCALS;
    byte me = LONE;
    do
    :: atomic { frees > 0 && any_is_live -> frees--; take_any() }; free_alone()
    :: break
    od;
    left--
}

active proctype Owner() provided (runs[OWNER])
{
    LOCALS;
    byte me = OWNER, drains = DRAINS, allocs = ALLOCS;
    do
    :: drains > 0 -> d_step { drains--; closed[me] = true }; drain(); closed[me] = false
    :: home != NIL && allocs > 0 ->
       d_step { allocs--; closed[me] = true };
       if
       :: home != NIL -> allocate()
       :: else /* a handler was faster */
       fi;
       closed[me] = false
    :: break
    od;
    skip;
    d_step { over[me] = true; left-- }
}

active [HANDLERS] proctype Handler()
{
    LOCALS;
    byte me = INTERRUPTED;
end:
    atomic { !over[me] && any_is_live -> runs[me] = false; take_any() };
    free_block();
    runs[me] = true
}

/* ---- what holds ---- */

inline look_through(list, place)
{
    b = list;
    do
    :: b != NIL ->
       assert(b <= BLOCKS && where[b] == place && !found[b]);
       found[b] = true;
       b = link[b]
    :: else -> break
    od
}

inline look_at_all()
{
    for (b : 1 .. BLOCKS) {
        found[b] = false
    }
    look_through(returned[0], RETURNED);
    look_through(returned[1], RETURNED);
    look_through(home, HOME);
    look_through(stash, AT + FREER);
    look_through(first, AT + FREER);
    for (b : 1 .. BLOCKS) {
        assert(found[b] || where[b] == LIVE || where[b] >= AT);
        found[b] = false
    }
    b = NIL
}

active proctype Check()
{
    byte b;
    bool found[BLOCKS + 1];
#if AT_END
    if
    :: left == 0
    :: timeout -> assert(left == 0)
    fi;
#else
    do
    :: d_step { look_at_all() }
    :: left == 0 -> break
    od;
    skip;
#endif
    d_step {
        look_at_all();
        for (b : 1 .. BLOCKS) {
            assert(where[b] < AT)
        }
    }
}
