/* last.pml - the heaps that served a thread last: core/emma_thread.c.
 *
 * A thread, a signal handler on it at any instruction, and another on that one ask which heap
 * served them last in one of three instances; where that is not known, they remember it; or they
 * forget all. The thread's heap in instance i is i here.
 *
 * Who asks for an instance is told the thread's heap in it, or none. What is remembered at the end
 * is right.
 *
 * short: ASKS=2 HANDLER_ASKS=1 INNER_ASKS=1
 * check:
 * check: ASKS=4 HANDLER_ASKS=4 INNER_ASKS=0
 *
 * broken, short: CHANGES_UNNOTICED
 * broken, short: CHANGING_UNMARKED
 * broken: BEFORE_KEPT
 * broken: NONCE_FIRST
 */

#ifndef ASKS /* by the thread, by the handler on it, and by that on the handler */
#define ASKS 3
#endif
#ifndef HANDLER_ASKS
#define HANDLER_ASKS 2
#endif
#ifndef INNER_ASKS
#define INNER_ASKS 1
#endif

#define LEVELS 3
#define NONE 0
#define CHANGING 9

byte nonce;
byte heap;
byte nonce_before;
byte heap_before;
/* `changes`, as who reads sees it, at each level: whether it is what it was. In emma it is a count
 * of 16 bits, which a handler might bring back to what it was. */
bool unchanged[LEVELS];
byte level; /* that runs now */

#define LOCALS byte asked, last, was

/* thread_begin_change. Into `was`. */
inline begin_change()
{
#ifdef CHANGING_UNMARKED
    was = nonce;
#else
    d_step { was = nonce; nonce = CHANGING };
#endif
    if
    :: was != CHANGING ->
       d_step { unchanged[0] = false; unchanged[1] = false; unchanged[2] = false };
#ifndef BEFORE_KEPT
       nonce_before = NONE
#endif
    :: else
    fi
}

/* emmai_thread_remember of the heap in `asked`. */
inline remember()
{
    begin_change();
    if
    :: was != CHANGING ->
       heap_before = heap;
#ifdef NONCE_FIRST
       nonce_before = was;
       nonce = asked;
       heap = asked
#else
       heap = asked;
       nonce_before = was;
       nonce = asked
#endif
    :: else
    fi;
    was = NONE
}

/* emmai_thread_forget */
inline forget()
{
    begin_change();
    if
    :: was != CHANGING -> nonce_before = NONE; nonce = NONE
    :: else
    fi;
    was = NONE
}

/* emmai_thread_last */
inline ask()
{
    last = NONE;
    unchanged[me] = true;
    if
    :: nonce == asked -> last = heap
    :: else ->
       if
       :: nonce_before == asked -> last = heap_before
       :: else
       fi
    fi;
#ifndef CHANGES_UNNOTICED
    if
    :: !unchanged[me] -> last = NONE
    :: else
    fi;
#endif
    d_step { unchanged[me] = false; assert(last == NONE || last == asked) }
}

inline ask_and_remember()
{
    do
    :: asks > 0 ->
       asks--;
       if
       :: asked = 1
       :: asked = 2
       :: asked = 3
       fi;
       ask();
       if
       :: last == NONE -> remember()
       :: forget()
       :: last != NONE
       fi;
       d_step { asked = NONE; last = NONE }
    :: else -> break
    od
}

active proctype Thread() provided (level == 0)
{
    LOCALS;
    byte me = 0, asks = ASKS;
    ask_and_remember();
    assert(nonce != CHANGING && (nonce == NONE || heap == nonce))
}

active proctype Handler() provided (level <= 1)
{
    LOCALS;
    byte me = 1, asks = HANDLER_ASKS;
    level = 1;
    ask_and_remember();
    level = 0
}

active proctype Handler_of_handler()
{
    LOCALS;
    byte me = 2, asks = INNER_ASKS;
    level == 1;
    level = 2;
    ask_and_remember();
    level = 1
}
