/* heaps.pml - whose a heap is: core/emma_shared.c, core/emma_adopt.c, core/emma_thread.c.
 *
 * Threads P, Q and N make calls: they enter a heap, perhaps take back, short of memory, what is in
 * heaps that somebody left, and leave it; P and Q may detach themselves at last. MORTAL dies at any
 * instruction. A handler interrupts P at any instruction and makes calls; with FORKS in the child
 * of a fork, where no other thread is. N is born at any time; in that child only when P makes no
 * call, since handlers start no threads. At first P and Q have heaps (BOTH); or so, but P used
 * other instances meanwhile (AWAY); or P has none, and one was left (NEW). Left open is which heaps
 * a search looks at, since its questions are few, and whether there is memory for one heap more.
 *
 * In every state: nobody is inside a heap that another is inside, or was when it died; who enters a
 * heap is its owner; nobody takes one whose owner lives, came that through a fork or not; and no
 * more heaps have no owner than are counted. What a thread remembers at last is its own.
 *
 * short: START=NEW LATER=0
 * short: START=BOTH LATER=0 DEATHS=0 Q_USES=0 HANDLERS=1
 * check: START=BOTH P_USES=2
 * check: START=BOTH LATER=0 HANDLERS=1 MORTAL=P
 * check: START=NEW
 * check: START=NEW DEATHS=0 CREATE_RECLAIMS=1
 *
 * broken: TAKEN_BY_STORE START=NEW DEATHS=0
 * broken, short: TAKEN_CLOSED START=BOTH
 * broken: TAKEN_UNCHECKED START=NEW DEATHS=0
 * broken: TAKEN_ALIVE START=BOTH LATER=0 DEATHS=0
 * broken, short: LEFT_OPEN START=BOTH LATER=0 DEATHS=0 HANDLERS=1
 * broken: LEFT_REMEMBERED START=BOTH LATER=0 DEATHS=0
 * broken: LEFT_UNCOUNTED START=BOTH LATER=0 DEATHS=0
 * broken: GATE_UNCHECKED START=BOTH LATER=0 DEATHS=0 HANDLERS=1
 *
 * A handler that comes when a thread has taken a heap and found it closed may enter that heap and
 * have the thread remember it: so the thread keeps one that was nobody's (GIVES_BACK: it does not).
 *
 * check: START=NEW LATER=0 DEATHS=0 HANDLERS=1
 * check: START=NEW LATER=0 DEATHS=0 DETACH=0 HANDLERS=1 CREATE_RECLAIMS=1
 * check: START=NEW LATER=0 DETACH=0 HANDLERS=1 MORTAL=P
 * broken: GIVES_BACK START=NEW LATER=0 DEATHS=0 HANDLERS=1
 *
 * A handler that comes when a thread has found its heap and not yet entered it, that forks, and in
 * the child makes calls by which the thread gets a new id and another heap, must not empty the
 * former one, and so leave it to nobody: the thread goes on with it (EMPTIES_FORMER: it does).
 *
 * check: START=AWAY DEATHS=0 HANDLERS=1 FORKS=1 Q_USES=0 HANDLER_USES=2
 * check: START=BOTH DEATHS=0 HANDLERS=1 FORKS=1 Q_USES=0 HANDLER_USES=2
 * broken: EMPTIES_FORMER START=AWAY LATER=0 DEATHS=0 HANDLERS=1 FORKS=1 Q_USES=0 HANDLER_USES=2
 * broken: ANY_GENERATION START=BOTH DEATHS=0 HANDLERS=1 FORKS=1 Q_USES=0 HANDLER_USES=2
 * broken: PROCESS_LATE START=BOTH DEATHS=0 HANDLERS=1 FORKS=1 Q_USES=0 HANDLER_USES=2
 *
 * A thread that has the kernel's id of a dead one may come when another has asked whether that one
 * lives and not yet taken its heap: so names have a number, too, that no other thread had
 * (NAMED_BY_PLACE: one that lies where the dead one did has the same name).
 *
 * check: START=BOTH REUSE=1
 * broken: NAMED_BY_PLACE START=BOTH REUSE=1
 */

#ifndef START
#define START BOTH
#endif
#ifndef P_USES
#define P_USES 1
#endif
#ifndef Q_USES
#define Q_USES 1
#endif
#ifndef N_USES
#define N_USES 1
#endif
#ifndef HANDLER_USES
#define HANDLER_USES 1
#endif
#ifndef CREATE_RECLAIMS /* who needs a new heap may be short of memory, too */
#define CREATE_RECLAIMS 0
#endif
#ifndef LATER
#define LATER 1
#endif
#ifndef DETACH
#define DETACH 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef MORTAL
#define MORTAL Q
#endif
#ifndef HANDLERS
#define HANDLERS 0
#endif
#ifndef FORKS
#define FORKS 0
#endif
#ifndef REUSE /* N has the kernel id of Q, which is dead */
#define REUSE 0
#endif

#define P 0
#define Q 1
#define N 2
#define THREADS 3
#define HANDLER 3

/* Names of owners: the kernel's id of a thread, and its birth. */
#define id_of(kernel, birth) ((kernel) * 4 + (birth))
#define kernel_of(id) ((id) / 4)
#define birth_of(id) ((id) % 4)
#ifdef NAMED_BY_PLACE
#define birth(thread) ((thread) == N -> Q + 1 : (thread) + 1)
#else
#define birth(thread) ((thread) + 1)
#endif
#define NOBODY 0
#define UNMADE 255 /* there is no such heap */

#define NO_NONCE 0
#define CHANGING 1
#define OURS 2

#define HEAPS 3
#define BOTH 0
#define AWAY 1
#define NEW 2
#if START == NEW
byte owner[HEAPS + 1] = { UNMADE, NOBODY, 10, UNMADE };
byte detached = 1; /* heaps_detached */
byte nonce[THREADS] = { NO_NONCE, OURS, NO_NONCE };
byte heap[THREADS] = { 0, 2, 0 };
byte known[THREADS] = { 0, 2, 0 }; /* kernel_id of emmai_thread */
#else
byte owner[HEAPS + 1] = { UNMADE, 5, 10, UNMADE };
byte detached;
#if START == AWAY
byte nonce[THREADS] = { NO_NONCE, OURS, NO_NONCE };
#else
byte nonce[THREADS] = { OURS, OURS, NO_NONCE };
#endif
byte heap[THREADS] = { 1, 2, 0 };
byte known[THREADS] = { 1, 2, 0 };
#endif

/* Of each heap, from 1. */
byte generation[HEAPS + 1] = 1;
bool closed[HEAPS + 1]; /* the gate */

/* Of the instance. */
byte fork_word = 1;
byte last_generation = 1;
byte process_id = 1;

/* Of each thread, with those above. */
byte nonce_before[THREADS];
byte heap_before[THREADS];
bool forked[THREADS];
bool unchanged[2]; /* `changes`, as who reads the words sees it: the code itself, and a handler */

/* The kernel's. */
byte process = 1;
byte kernel_id[THREADS] = { 1, 2, 0 };
byte former_id; /* of P, before the fork */
bool alive[THREADS] = { 1, 1, 0 };
bool runs[THREADS + 1] = { 1, 1, 0, 1 };

/* The model's own. */
bool inside[HEAPS + 1];
bool over[THREADS];
bool calling; /* P makes a call */

#define was_before(t, kernel) (t == P && former_id && former_id == kernel)
#define has_id(t, kernel) (kernel_id[t] == kernel || was_before(t, kernel))
#define bears(t, id) (alive[t] && birth(t) == birth_of(id) && has_id(t, kernel_of(id)))
#define is_mine(heap) bears(me, owner[heap])
#define another_bears(id) \
    ((me != P && bears(P, id)) || (me != Q && bears(Q, id)) || (me != N && bears(N, id)))
#define is_alive(t, kernel) (alive[t] && kernel_id[t] == kernel)
#define lives(kernel) (is_alive(P, kernel) || is_alive(Q, kernel) || is_alive(N, kernel))

/* Words that only the thread itself and handlers on it use, or that only a fork changes: where
 * there is none, their steps are one. */
#if HANDLERS
#define OWN_WORDS
#else
#define OWN_WORDS atomic
#endif
#if FORKS
#define FORK_WORDS
#else
#define FORK_WORDS atomic
#endif

#if CREATE_RECLAIMS
#define LOCALS byte last, h, own, id, gen, found, kernel, was, asked, inner, outer_id, outer_gen; \
    bool yes
#else
#define LOCALS byte last, h, own, id, gen, found, kernel, was, asked, inner; bool yes
#endif

/* ---- core/emma_thread.c ---- */

/* thread_begin_change. Into `was`. */
inline begin_change()
{
    d_step { was = nonce[me]; nonce[me] = CHANGING };
    if
    :: was != CHANGING ->
       d_step { unchanged[0] = false; unchanged[1] = false; nonce_before[me] = NO_NONCE }
    :: else
    fi
}

/* emmai_thread_remember */
inline remember(which)
{
    OWN_WORDS {
        begin_change();
        if
        :: was != CHANGING ->
           heap_before[me] = heap[me];
           heap[me] = which;
           nonce_before[me] = was;
           d_step { nonce[me] = OURS; was = 0 }
        :: else -> was = 0
        fi
    }
}

/* emmai_thread_forget. The heaps, which nobody reads without a nonce, go too: for fewer states. */
inline forget()
{
    OWN_WORDS {
        begin_change();
        if
        :: was != CHANGING ->
           d_step { nonce[me] = NO_NONCE; heap[me] = 0; heap_before[me] = 0; was = 0 }
        :: else -> was = 0
        fi
    }
}

/* emmai_thread_last. Into `last`. */
inline thread_last()
{
    OWN_WORDS {
        unchanged[is_handler] = true;
        if
        :: nonce[me] == OURS -> last = heap[me]
        :: else ->
           if
           :: nonce_before[me] == OURS -> last = heap_before[me]
           :: else
           fi
        fi;
        d_step { last = (unchanged[is_handler] -> last : 0); unchanged[is_handler] = false }
    }
}

/* emmai_thread_identify. Into `id`; 0: none. */
inline identify()
{
    kernel = kernel_id[me];
    asked = process;
    if
    :: d_step { asked != process_id -> id = (known[me] -> id_of(known[me], birth(me)) : 0) }
    :: asked == process_id ->
       if
       :: known[me] != kernel ->
          forked[me] = forked[me] || known[me];
          forget();
          known[me] = kernel
       :: else
       fi;
       id = id_of(kernel, birth(me))
    fi;
    kernel = 0;
    asked = 0
}

/* ---- core/emma_shared.c: finding a heap ---- */

/* emmai_shared_generation. Into `gen`. */
inline shared_generation()
{
    FORK_WORDS {
        gen = fork_word;
        if
        :: gen == 0 ->
           d_step { last_generation++; gen = last_generation };
#ifndef PROCESS_LATE
           process_id = process;
#endif
           if
           :: d_step { fork_word == 0 -> fork_word = gen }
           :: d_step { fork_word != 0 -> gen = fork_word }
           fi
#ifdef PROCESS_LATE
           ;
           process_id = process
#endif
        :: else
        fi
    }
}

/* heap_find_own. Into `found`. */
inline find_own()
{
    h = 1;
    do
    :: d_step { h <= HEAPS && owner[h] != id -> h++ }
    :: h <= HEAPS && owner[h] == id ->
       if
       :: d_step { !closed[h] -> found = h; h = HEAPS + 1 }
       :: d_step { closed[h] -> h++ }
       fi
    :: d_step { h > HEAPS -> h = 0 }; break
    od
}

/* ---- core/emma_adopt.c ---- */

/* heap_is_left of heap h, of owner `own`. Sets `yes`. Of a process that is not this one any more,
 * the kernel may say anything. */
inline is_left()
{
    if
    :: own == NOBODY -> yes = true
#ifndef ANY_GENERATION
    :: own != NOBODY && generation[h] != gen && !forked[me]
    :: own != NOBODY && (generation[h] == gen || forked[me]) ->
#else
    :: else ->
#endif
       if
       :: kernel_of(own) == kernel_of(id) -> yes = true
       :: else ->
          asked = process_id;
          if
#ifdef TAKEN_ALIVE
          :: yes = true
#else
          :: asked == process -> yes = !lives(kernel_of(own))
#endif
          :: asked != process -> yes = true
          :: asked != process
          fi;
          asked = 0
       fi
    fi
}

/* heap_take: the exchange. Clears `yes` if that fails. */
inline take()
{
    if
#ifdef TAKEN_BY_STORE
    :: owner[h] = id
#else
    :: d_step { owner[h] == own -> owner[h] = id }
    :: d_step { owner[h] != own -> yes = false }
#endif
    fi
}

inline count_taken()
{
    if
    :: own == NOBODY -> detached--
    :: else
    fi
}

/* heap_take_if_left of heap h. Into `yes`. */
inline take_if_left()
{
    own = owner[h];
    if
#ifdef TAKEN_CLOSED
    :: own == id || own == UNMADE
#else
    :: own == id || own == UNMADE || closed[h]
#endif
    :: else ->
       is_left();
#ifndef TAKEN_CLOSED
       if
       :: yes && closed[h] -> yes = false
       :: else
       fi;
#endif
       if
       :: yes -> take()
       :: else
       fi;
       if
       :: yes ->
          generation[h] = gen;
          if
#if defined(TAKEN_CLOSED) || defined(TAKEN_UNCHECKED)
          :: true -> assert(!inside[h]); count_taken()
#else
          :: closed[h] ->
             yes = false;
#ifdef GIVES_BACK
             owner[h] = own
#else
             if
             :: own == NOBODY -> detached--
             :: else -> owner[h] = own
             fi
#endif
          :: d_step { !closed[h] -> assert(!inside[h] && !another_bears(own)) }
             count_taken()
#endif
          fi
       :: else
       fi
    fi;
    own = 0
}

/* emmai_adopt_heap. Into `found`. */
inline adopt()
{
    h = 1;
    do
    :: h <= HEAPS ->
       take_if_left();
       if
       :: yes -> d_step { found = h; h = HEAPS + 1; yes = false }
       :: else -> h++
       fi
    :: d_step { h <= HEAPS -> h++ }
    :: d_step { h > HEAPS -> h = 0 }; break
    od
}

/* heap_is_former */
#ifdef EMPTIES_FORMER
#define is_former(heap) false
#else
#define is_former(heap) (forked[me] && birth_of(owner[heap]) == birth(me))
#endif

/* reclaim_once */
inline reclaim()
{
    shared_generation();
    identify();
    h = (id -> 1 : HEAPS + 1);
    do
    :: h <= HEAPS && !is_former(h) ->
       take_if_left();
       if
       :: yes -> yes = false; gate_close(h); shared_leave()
       :: else
       fi;
       h++
    :: d_step { h <= HEAPS -> h++ }
    :: d_step { h > HEAPS -> h = 0; gen = 0; id = 0 }; break
    od
}

/* ---- core/emma_shared.c: entering and leaving ---- */

inline gate_close(which)
{
    d_step {
        assert(!inside[which] && is_mine(which));
        inside[which] = true;
        closed[which] = true
    }
}

inline gate_open(which)
{
    d_step { inside[which] = false; closed[which] = false }
}

/* heap_create, which may take back what is in heaps before. Into `found`; it may be refused. */
inline create()
{
#if CREATE_RECLAIMS
    if
    :: d_step { outer_id = id; outer_gen = gen };
       reclaim();
       id = outer_id;
       d_step { gen = outer_gen; outer_id = 0; outer_gen = 0 }
    :: true
    fi;
#endif
    if
    :: d_step {
           owner[HEAPS] == UNMADE ->
           found = HEAPS; owner[found] = id; generation[found] = gen
       }
    :: true
    fi
}

/* heap_for_thread. Into `found`. */
inline heap_for_thread()
{
    shared_generation();
    if
    :: known[me] -> id = id_of(known[me], birth(me)); find_own()
    :: else
    fi;
    if
    :: !found ->
       identify();
       if
       :: id ->
          find_own();
          if
          :: !found -> adopt()
          :: else
          fi;
          if
          :: !found -> create()
          :: else
          fi
       :: else
       fi
    :: else
    fi;
    d_step { gen = 0; id = 0 }
}

/* emmai_shared_enter. Into `found`. */
inline enter()
{
    thread_last();
    if
#ifdef GATE_UNCHECKED
    :: last -> found = last
#else
    :: last && !closed[last] -> found = last
#endif
    :: else ->
       heap_for_thread();
       if
       :: found && !last -> remember(found)
       :: else
       fi
    fi;
    last = 0;
    if
    :: found -> gate_close(found)
    :: else
    fi
}

/* emmai_shared_leave of heap h, which the caller is inside. */
inline shared_leave()
{
#ifndef LEFT_UNCOUNTED
    detached++;
#endif
#ifdef LEFT_OPEN
    gate_open(h);
#endif
    owner[h] = NOBODY;
#ifdef LEFT_UNCOUNTED
    detached++;
#endif
#ifndef LEFT_REMEMBERED
    if
    :: heap[me] == h || heap_before[me] == h -> forget()
    :: else
    fi;
#endif
#ifndef LEFT_OPEN
    gate_open(h)
#endif
}

/* emma_thread_detach */
inline detach()
{
    d_step { id = id_of(known[me], birth(me)); h = 1 };
    do
    :: d_step { h <= HEAPS && owner[h] != id -> h++ }
    :: h <= HEAPS && owner[h] == id ->
       if
       :: !closed[h] -> gate_close(h); shared_leave()
       :: closed[h]
       fi;
       h++
    :: d_step { h > HEAPS -> h = 0; id = 0 }; break
    od
}

/* ---- what threads do ---- */

/* A call, which may be short of memory. */
inline use()
{
    enter();
    if
    :: found ->
       if
       :: d_step { inner = found; found = 0 }; reclaim(); found = inner; inner = 0
       :: true
       fi;
       gate_open(found);
       found = 0
    :: else
    fi
}

#define end_of(thread) \
    d_step { \
        over[thread] = true; \
        assert(nonce[thread] != OURS || is_mine(heap[thread])) \
    }

active proctype ThreadP() provided (runs[P])
{
    LOCALS;
    byte me = P, uses = P_USES;
    bool is_handler = false;
    do
    :: d_step { uses -> uses--; calling = true }; use(); calling = false
#if DETACH
    :: calling = true; detach(); calling = false; break
#endif
    :: break
    od;
    skip;
    end_of(P)
}

active proctype ThreadQ() provided (runs[Q])
{
    LOCALS;
    byte me = Q, uses = Q_USES;
    bool is_handler = false;
    do
    :: uses -> uses--; use()
#if DETACH
    :: detach(); break
#endif
    :: break
    od;
    skip;
    end_of(Q)
}

active proctype ThreadN() provided (runs[N])
{
    LOCALS;
    byte me = N, uses = N_USES;
    bool is_handler = false;
    do
    :: uses -> uses--; use()
    :: break
    od;
    skip;
    end_of(N)
}

active [HANDLERS] proctype Handler() provided (runs[HANDLER])
{
    LOCALS;
    byte me = P, uses = HANDLER_USES;
    bool is_handler = true;
    d_step {
        alive[P] && !over[P] -> runs[P] = false;
#if FORKS
        process++;
        fork_word = 0;
        former_id = kernel_id[P];
        kernel_id[P] = 3;
        alive[Q] = false;
        runs[Q] = false
#endif
    }
    do
    :: uses -> uses--; use()
    :: break
    od;
    runs[P] = true
}

active [LATER] proctype Birth()
{
    d_step {
        (!FORKS || (process > 1 && runs[P] && !calling)) && (!REUSE || !alive[Q]) ->
        alive[N] = true;
        runs[N] = true;
        kernel_id[N] = (REUSE -> kernel_id[Q] : 4)
    }
}

active [DEATHS] proctype Death()
{
    d_step {
        alive[MORTAL] ->
        alive[MORTAL] = false;
        runs[MORTAL] = false;
        runs[HANDLER] = runs[HANDLER] && MORTAL != P
    }
}

/* ---- what holds of counts, and that all who can come to their end do ---- */

#define nobodys ((owner[1] == NOBODY) + (owner[2] == NOBODY) + (owner[3] == NOBODY))
#define is_over(thread) (over[thread] || !alive[thread])

active proctype Check()
{
    if
    :: nobodys > detached -> assert(nobodys <= detached)
    :: timeout -> assert(is_over(P) && is_over(Q) && is_over(N))
    fi
}
