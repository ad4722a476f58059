/* held.pml - the empty chunks that a heap holds: core/emma_held.c.
 *
 * OWNER, whose heap it is, takes chunks, of those that it holds or free ones, and lets the heap
 * hold them or makes them free; it adds by a compare-and-exchange, and takes one by taking all and
 * putting the rest back. SHEDDERS, who are short of memory, take all and make them free; so does a
 * signal handler on OWNER's thread, at any instruction. Free chunks are anybody's, who may write
 * into their entries.
 *
 * In every state, so wherever threads stop for good: the list ends, and holds what is held and
 * nothing else; a chunk is held, or free, or in the hands of one thread. At the end, if all come
 * there, no chunk is lost.
 *
 * check, short: SHEDDERS=2
 * check, short: SHEDDERS=1 HANDLERS=1
 *
 * broken, short: ADDED_BY_STORE
 * broken: ADDED_LINKED_ONCE
 * broken: TAKEN_BY_STORE
 * broken, short: SHED_BY_STORE SHEDDERS=2
 * broken: SHED_NEXT_LATE
 */

#ifndef SHEDDERS
#define SHEDDERS 1
#endif
#ifndef HANDLERS
#define HANDLERS 0
#endif
#ifndef STEPS /* of OWNER */
#define STEPS 4
#endif

#define CHUNKS 3 /* from 1 */
#define NIL 0
#define JUNK 7

/* Where a chunk is, as who looks from above knows. */
#define FREE 0
#define HELD 1
#define AT 2 /* + process: in its hands */
byte where[CHUNKS + 1] = { FREE, HELD, HELD, FREE };

byte next[CHUNKS + 1] = { JUNK, 2, NIL, JUNK }; /* of the entries */
byte held = 1;
bool runs = true; /* no handler on OWNER's thread does */
byte left = 1 + SHEDDERS;

#define LOCALS byte chunk, rest, first, c

/* Notes that the chunks of a list, which were `before`, are `after` now. */
inline move(list, before, after)
{
    c = list;
    do
    :: c != NIL -> assert(c <= CHUNKS && where[c] == before); where[c] = after; c = next[c]
    :: else -> break
    od;
    c = NIL
}

/* held_add of `chunk`. */
inline add()
{
    first = held;
#ifdef ADDED_LINKED_ONCE
    next[chunk] = first;
#endif
    do
    :: true ->
#ifndef ADDED_LINKED_ONCE
       next[chunk] = first;
#endif
       if
#ifdef ADDED_BY_STORE
       :: d_step { held = chunk; where[chunk] = HELD; chunk = NIL }
#else
       :: d_step { first == held -> held = chunk; where[chunk] = HELD; chunk = NIL }
#endif
       :: first = held
       fi;
       if
       :: chunk == NIL -> break
       :: else
       fi
    od;
    first = NIL
}

/* emmai_held_take. Into `chunk`. */
inline take()
{
    if
    :: held == NIL
    :: else ->
#ifdef TAKEN_BY_STORE
       chunk = held;
       rest = next[chunk];
       d_step { where[chunk] = AT + _pid; held = rest; rest = NIL }
#else
       d_step { chunk = held; held = NIL; move(chunk, HELD, AT + _pid) };
       if
       :: chunk != NIL ->
          rest = next[chunk];
          d_step { held = rest; move(rest, AT + _pid, HELD); rest = NIL }
       :: else
       fi
#endif
    fi
}

/* emmai_chunk_release, as far as it matters here. */
inline release(freed)
{
    d_step { assert(where[freed] == AT + _pid); where[freed] = FREE; next[freed] = JUNK }
}

/* emmai_held_shed */
inline shed()
{
#ifdef SHED_BY_STORE
    chunk = held;
    d_step { held = NIL; move(chunk, HELD, AT + _pid) };
#else
    d_step { chunk = held; held = NIL; move(chunk, HELD, AT + _pid) };
#endif
    do
    :: chunk != NIL ->
#ifdef SHED_NEXT_LATE
       release(chunk);
       rest = next[chunk];
#else
       rest = next[chunk];
       release(chunk);
#endif
       d_step { chunk = rest; rest = NIL }
    :: else -> break
    od
}

/* emmai_chunk_take_slab, as far as it matters here. */
inline take_free()
{
    if
    :: d_step { where[1] == FREE -> chunk = 1; where[1] = AT + _pid }
    :: d_step { where[2] == FREE -> chunk = 2; where[2] = AT + _pid }
    :: d_step { where[3] == FREE -> chunk = 3; where[3] = AT + _pid }
    :: true
    fi
}

active proctype Owner() provided (runs)
{
    LOCALS;
    byte steps = STEPS;
    do
    :: steps > 0 && chunk == NIL -> steps--; take()
    :: steps > 0 && chunk == NIL -> steps--; take_free()
    :: chunk != NIL -> add()
    :: chunk != NIL -> release(chunk); chunk = NIL
    :: steps == 0 && chunk == NIL -> break
    od;
    left--
}

active [SHEDDERS] proctype Shedder()
{
    LOCALS;
    shed();
    shed();
    left--
}

active [HANDLERS] proctype Handler()
{
    LOCALS;
    runs = false;
    shed();
    runs = true
}

inline look_at_list()
{
    c = held;
    do
    :: c != NIL ->
       assert(c <= CHUNKS && where[c] == HELD && !found[c]);
       found[c] = true;
       c = next[c]
    :: else -> break
    od;
    for (c : 1 .. CHUNKS) {
        assert(found[c] || where[c] != HELD);
        found[c] = false
    }
    c = NIL
}

active proctype Check()
{
    byte c;
    bool found[CHUNKS + 1];
    do
    :: d_step { look_at_list() }
    :: d_step {
           left == 0 && runs ->
           assert(where[1] <= HELD && where[2] <= HELD && where[3] <= HELD)
       };
       break
    od
}
