/* chunks.pml - who owns a chunk, and what free ones keep: core/emma_bits.c, core/emma_chunk.c,
 * core/emma_purge.c, and what these need of emma_place.c and emma_footprint.c.
 *
 * USERS take a chunk for a slab, or two in a row for a run, use their pages, and give them back; at
 * the limit they purge, as PURGERS do, and trims. Chunks 1 to 3 can be taken; words of the maps
 * have two bits here, so that a run may lie in two words. A chunk has one page. At first 1 and 2
 * keep theirs.
 *
 * In every state, so wherever threads stop for good: a chunk in the chunk map has one owner, and
 * only that one writes its entry, or purges it; a chunk that is not in it is in the retained map
 * just if it keeps memory; the retained pages are not fewer than what those in that map have, the
 * footprint is not less than what is resident, and within the limit; what searches must see is
 * below low_end. Lost are the chunks that stopped threads had. At the end, if all come there, no
 * chunk is lost, and both counts are exact.
 *
 * short: USERS=1 PURGERS=1 TAKES=2
 * short: USERS=2 PURGERS=0 TAKES=1 LIMIT=2
 * check: USERS=2 PURGERS=0 TAKES=2 LIMIT=2
 * check: USERS=2 PURGERS=0 TAKES=2 LIMIT=3
 * check: USERS=1 PURGERS=2 TAKES=1
 * check: USERS=1 PURGERS=1 TAKES=3
 * check: USERS=1 PURGERS=0 TAKES=3 TRIMS=2 LIMIT=2 HINT=1
 *
 * broken, short: CLAIM_BY_STORE
 * broken: CLAIM_KEEPS
 * broken: CLEAR_BY_STORE
 * broken: LIST_THEN_COUNT
 * broken: CLEAR_THEN_LIST
 * broken: UNLIST_NOT
 * broken: NOTE_END_LATE
 * broken, short: COUNT_ONCE USERS=1 PURGERS=1
 * broken: GIVE_THEN_PURGE PURGERS=1
 * broken: PURGE_UNCLAIMED USERS=1 PURGERS=1
 * broken: RELEASE_UNHINTED USERS=1 TRIMS=1 HINT=1
 *
 * A thread that has looked may move low_hint behind a chunk that another one made free meanwhile.
 * So who finds none looks once more from the start, which the model leaves out; where no other
 * thread makes any free, none is below low_hint (HINT).
 */

#ifndef USERS
#define USERS 2
#endif
#ifndef PURGERS
#define PURGERS 0
#endif
#ifndef TAKES /* by each user */
#define TAKES 2
#endif
#ifndef TRIMS /* by each user */
#define TRIMS 0
#endif
#ifndef LIMIT
#define LIMIT 3
#endif
#ifndef HINT /* at the end no chunk below low_hint is free */
#define HINT 0
#endif

#define YOUNG 1 /* the young area: chunks below are never looked for */
#define CHUNKS 4
#define ALL_PAGES 9

/* Words of two bits: the chunk map, and the retained map. */
#define WORD_BITS 2
#define USED 0
#define KEPT 2
byte map[4] = { 0, 0, 2, 1 };
#define bit_of(chunk) (1 << ((chunk) % WORD_BITS))
#define has(which, chunk) ((map[which + (chunk) / WORD_BITS] >> ((chunk) % WORD_BITS)) & 1)
#define word(which, chunk) map[which + (chunk) / WORD_BITS]
/* bits_mask and emmai_bits_next */
#define mask(bit, end) ((bit) % WORD_BITS == 0 -> ((end) > (bit) + 1 -> 3 : 1) : 2)
#define next_word(bit) (((bit) / WORD_BITS + 1) * WORD_BITS)
#define bits_next(bit, end) (next_word(bit) < (end) -> next_word(bit) : (end))

byte resident[CHUNKS] = { 0, 1, 1, 0 };
byte retained = 2;
byte footprint = 2;
byte low_end = 3;
byte low_hint = YOUNG;

/* The model's own: by whom a chunk's bit was set. */
#define NOBODY 255
byte owner[CHUNKS] = NOBODY;
byte left = USERS + PURGERS; /* threads that are not over */

#define LOCALS byte at, i, now, g, sum, keeps, chunk, count, start, gap, end, hint, taken; \
    byte missing, wanted, done, row, first, last; bool hit, ok, lost, is_run, fresh

/* ---- core/emma_bits.c ---- */

/* emmai_bits_find, a load of each word. Into `at`. */
inline bits_find(which, from, bound, value)
{
    at = from;
    do
    :: d_step {
           !hit && at < bound ->
           now = word(which, at) ^ (value -> 0 : 3);
           if
           :: at % WORD_BITS == 0 && (now & 1) -> hit = true
           :: at % WORD_BITS == 0 && !(now & 1) && (now & 2) && at + 1 < bound -> at++; hit = true
           :: at % WORD_BITS == 1 && (now & 2) -> hit = true
           :: else -> at = bits_next(at, bound)
           fi;
           now = 0
       }
    :: hit || at >= bound -> break
    od;
    hit = false
}

/* emmai_bits_last of the retained map, from YOUNG on. Into `at`. */
inline bits_last(bound)
{
    at = bound;
    do
    :: d_step {
           !hit && at > YOUNG ->
           now = word(KEPT, at - 1);
           if
           :: at % WORD_BITS == 0 && (now & 2) -> hit = true
           :: at % WORD_BITS == 0 && !(now & 2) && (now & 1) -> at--; hit = true
           :: at % WORD_BITS == 1 && (now & 1) -> hit = true
           :: else -> at = (at - 1) / WORD_BITS * WORD_BITS
           fi;
           now = 0
       }
    :: hit || at <= YOUNG -> break
    od;
    hit = false
}

/* emmai_bits_clear of the retained map. */
inline clear_kept(from, bound)
{
    i = from;
    do
    :: d_step {
           i < bound ->
           word(KEPT, i) = word(KEPT, i) & (3 ^ mask(i, bound));
           i = bits_next(i, bound)
       }
    :: i >= bound -> break
    od;
    i = 0
}

/* emmai_bits_clear of the chunk map: ends what the thread owns. */
inline clear_used(from, bound)
{
    i = from;
    do
    :: i < bound ->
#ifdef CLEAR_BY_STORE
       now = word(USED, i);
#endif
       d_step {
#ifndef CLEAR_BY_STORE
           now = word(USED, i);
#endif
           word(USED, i) = now & (3 ^ mask(i, bound));
           for (g : i .. bits_next(i, bound) - 1) {
               assert(owner[g] == _pid);
               owner[g] = NOBODY
           }
           i = bits_next(i, bound);
           now = 0;
           g = 0
       }
    :: i >= bound -> break
    od;
    i = 0
}

/* emmai_bits_claim of the chunk map. Into `ok`. */
inline claim(from, bound)
{
    d_step { i = from; ok = true; now = word(USED, i) };
    do
    :: ok && i < bound && (now & mask(i, bound)) -> ok = false
    :: d_step {
#ifdef CLAIM_BY_STORE
           ok && i < bound && !(now & mask(i, bound)) ->
#else
           ok && i < bound && !(now & mask(i, bound)) && now == word(USED, i) ->
#endif
           word(USED, i) = now | mask(i, bound);
           for (g : i .. bits_next(i, bound) - 1) {
               assert(owner[g] == NOBODY);
               owner[g] = _pid
           }
           i = bits_next(i, bound);
           now = 0;
           g = 0
       };
       if
       :: i < bound -> now = word(USED, i)
       :: else
       fi
    :: ok && i < bound && !(now & mask(i, bound)) -> now = word(USED, i)
    :: !ok || i == bound -> break
    od;
    now = 0;
#ifndef CLAIM_KEEPS
    if
    :: !ok && i > from -> end = i; clear_used(from, end); end = 0
    :: else
    fi;
#endif
    i = 0
}

/* ---- bounds and counts ---- */

/* emmai_sync_raise of low_end. */
inline raise_end(value)
{
    now = low_end;
    do
    :: d_step { now < value && now == low_end -> low_end = value }; break
    :: now < value -> now = low_end
    :: now >= value -> break
    od;
    now = 0
}

/* emmai_sync_lower of low_hint. */
inline lower_hint(value)
{
    now = low_hint;
    do
    :: d_step { now > value && now == low_hint -> low_hint = value }; break
    :: now > value -> now = low_hint
    :: now <= value -> break
    od;
    now = 0
}

/* emmai_footprint_give */
inline footprint_give(pages)
{
    d_step { assert(footprint >= (pages)); footprint = footprint - (pages) }
}

/* emmai_footprint_take. Into `ok`. */
inline footprint_take(pages)
{
    if
    :: footprint + (pages) > LIMIT -> wanted = footprint + (pages) - LIMIT; chunk_purge()
    :: else
    fi;
    now = footprint;
    do
    :: d_step {
           now + (pages) <= LIMIT && now == footprint ->
           footprint = now + (pages); ok = true
       };
       break
    :: now + (pages) <= LIMIT -> now = footprint
    :: now + (pages) > LIMIT -> ok = false; break
    od;
    now = 0
}

/* ---- core/emma_purge.c ---- */

/* purge_owned of the chunks from first to last; `row` pages. */
inline purge_owned()
{
    d_step {
        for (g : first .. last) { /* here the kernel takes their memory */
            assert(owner[g] == _pid)
        }
        g = 0
    };
#ifdef GIVE_THEN_PURGE
    footprint_give(resident[first]);
#endif
    i = first;
    do
    :: d_step { i <= last -> row = row + resident[i]; resident[i] = 0; i++ }
    :: i > last -> break
    od;
    i = 0;
    clear_kept(first, last + 1);
    d_step { assert(retained >= row); retained = retained - row };
#ifdef GIVE_THEN_PURGE
    row = row - 1;
#endif
    d_step { done = done + row; row = 0 }
}

/* purge_row of chunks up to `last`, as many as `wanted` pages need more than are `done`. */
inline purge_row()
{
    d_step { row = resident[last]; first = last };
    do
    :: row < wanted - done && has(KEPT, first - 1) ->
       d_step { first--; row = row + resident[first] }
    :: row >= wanted - done || !has(KEPT, first - 1) -> break
    od;
    row = 0;
#ifdef PURGE_UNCLAIMED
    bits_find(USED, first, last + 1, true);
    ok = (at == last + 1);
#else
    claim(first, last + 1);
#endif
    if
    :: ok ->
       bits_find(KEPT, first, last + 1, false);
       if
       :: at > last -> purge_owned()
       :: else
       fi;
       clear_used(first, last + 1);
       if
       :: at > last -> lower_hint(first)
       :: else
       fi
    :: else
    fi;
    at = 0;
    d_step { first = 0; ok = false }
}

/* emmai_chunk_purge of `wanted` pages. */
inline chunk_purge()
{
    if
    :: wanted > retained -> wanted = retained
    :: else
    fi;
    last = low_end;
    do
    :: done < wanted ->
       bits_last(last);
       if
       :: at > YOUNG -> last = at - 1; purge_row()
       :: else -> break
       fi
    :: else -> break
    od;
    at = 0;
    footprint_give(done);
    d_step { done = 0; wanted = 0; last = 0 }
}

/* ---- core/emma_chunk.c: taking and giving back `count` chunks from `chunk` on ---- */

#define add_up_residents(from, bound) \
    for (g : from .. (bound) - 1) { \
        sum = sum + resident[g]; \
        keeps = keeps | (resident[g] -> bit_of(g) : 0) \
    } \
    g = 0

/* chunk_list_retained */
inline list_retained()
{
    i = chunk;
    do
    :: i < chunk + count ->
       d_step { add_up_residents(i, bits_next(i, chunk + count)) };
       if
       :: keeps ->
#ifndef LIST_THEN_COUNT
          retained = retained + sum;
#endif
          d_step { assert(!(word(KEPT, i) & keeps)); word(KEPT, i) = word(KEPT, i) | keeps }
#ifdef LIST_THEN_COUNT
          retained = retained + sum
#endif
       :: else
       fi;
       d_step { i = bits_next(i, chunk + count); sum = 0; keeps = 0 }
    :: i >= chunk + count -> break
    od;
    i = 0
}

/* chunk_unlist_retained */
inline unlist_retained()
{
    d_step { add_up_residents(chunk, chunk + count); keeps = 0 };
    if
    :: sum ->
       clear_kept(chunk, chunk + count);
       d_step { assert(retained >= sum); retained = retained - sum; sum = 0 }
    :: else
    fi
}

inline chunk_unclaim()
{
#ifdef CLEAR_THEN_LIST
    clear_used(chunk, chunk + count);
    list_retained();
#else
    list_retained();
    clear_used(chunk, chunk + count);
#endif
#ifndef RELEASE_UNHINTED
    lower_hint(chunk)
#endif
}

/* emmai_run_missing: a load of each entry. */
inline run_missing()
{
    missing = 0;
    if
    :: is_run -> missing = 1 - resident[chunk]; missing = missing + 1 - resident[chunk + 1]
    :: else
    fi
}

/* chunk_count_pages. Into `ok`. */
inline count_pages()
{
    ok = true;
    run_missing();
    do
    :: ok && missing > taken ->
       footprint_take(missing - taken);
       if
       :: ok -> taken = missing; run_missing()
       :: else -> footprint_give(taken)
       fi
    :: else -> break
    od
}

/* chunk_claim. Into `ok`; `lost` where another thread was faster. */
inline chunk_claim()
{
    lost = false;
    count_pages();
    if
    :: ok ->
#ifndef NOTE_END_LATE
       raise_end(chunk + count);
#endif
       claim(chunk, chunk + count);
#ifdef NOTE_END_LATE
       raise_end(chunk + count);
#endif
       if
       :: !ok -> footprint_give(taken); lost = true
       :: else ->
#ifndef UNLIST_NOT
          unlist_retained();
#endif
          run_missing();
          if
#ifndef COUNT_ONCE
          :: missing > taken ->
             footprint_take(missing - taken);
             if
             :: !ok -> footprint_give(taken); chunk_unclaim()
             :: else
             fi
#endif
          :: missing < taken -> footprint_give(taken - missing)
          :: else
          fi
       fi
    :: else
    fi;
    d_step { taken = 0; missing = 0 }
}

/* ---- core/emma_place.c ---- */

/* emmai_place_retained. Into `chunk`; 0 for none. */
inline place_retained()
{
    chunk = 0;
    if
    :: retained == 0
    :: else ->
       d_step { start = YOUNG; end = low_end };
       do
       :: true ->
          bits_find(KEPT, start, end, true);
          start = at;
          if
          :: end < start + count -> break
          :: else ->
             bits_find(KEPT, start, start + count, false);
             gap = at;
             bits_find(USED, start, start + count, true);
             if
             :: gap == start + count && at == gap -> chunk = start; break
             :: gap < at -> start = gap
             :: else -> start = at + 1
             fi
          fi
       od;
       at = 0;
       d_step { start = 0; end = 0; gap = 0 }
    fi
}

/* emmai_place_fit from `hint` on, and emmai_place_next_free. Into `chunk`; CHUNKS for none. */
inline place_fit()
{
    chunk = hint;
    do
    :: true ->
       bits_find(USED, chunk, CHUNKS, false);
       chunk = at;
       if
       :: chunk + count > CHUNKS -> chunk = CHUNKS; break
       :: !is_run && chunk + count <= CHUNKS -> break
       :: is_run && chunk + count <= CHUNKS ->
          end = low_end;
          end = (end < chunk + count -> end : chunk + count);
          bits_find(USED, chunk, end, true);
          if
          :: at < end -> chunk = at
          :: else -> break
          fi
       fi
    od;
    at = 0;
    end = 0
}

/* ---- what threads do ---- */

/* emmai_chunk_take_slab, emmai_chunk_take_run: `ok`. */
inline take()
{
    do
    :: true ->
       hint = low_hint;
       place_retained();
       if
       :: chunk == 0 -> fresh = true; place_fit()
       :: else
       fi;
       if
       :: chunk == CHUNKS -> ok = false; break
       :: else -> chunk_claim()
       fi;
       if
       :: lost -> fresh = false
       :: else -> break
       fi
    od;
    if
    :: ok && fresh && !is_run ->
       if
       :: d_step { low_hint == hint -> low_hint = chunk + 1 }
       :: low_hint != hint
       fi
    :: else
    fi;
    d_step { hint = 0; fresh = false }
}

/* run_note_pages, emmai_chunk_account: uses the pages, if there are any for it. */
inline use_pages()
{
    if
    :: is_run ->
       d_step { assert(owner[chunk] == _pid && owner[chunk + 1] == _pid); resident[chunk] = 1 };
       resident[chunk + 1] = 1
    :: !is_run && !resident[chunk] ->
       footprint_take(1);
       if
       :: ok -> assert(owner[chunk] == _pid); resident[chunk] = 1
       :: else
       fi
    :: else
    fi;
    ok = false
}

active [USERS] proctype User()
{
    LOCALS;
    byte takes = TAKES, trims = TRIMS;
    do
    :: takes > 0 && count == 0 ->
       takes--;
       if
       :: count = 1
       :: d_step { count = 2; is_run = true }
       fi;
       take();
       if
       :: ok -> use_pages()
       :: else -> d_step { chunk = 0; count = 0; is_run = false }
       fi
    :: trims > 0 -> d_step { trims--; wanted = ALL_PAGES }; chunk_purge()
    :: count > 0 -> chunk_unclaim(); d_step { chunk = 0; count = 0; is_run = false }
    :: count == 0 -> break
    od;
    left--
}

active [PURGERS] proctype Purger()
{
    LOCALS;
    wanted = ALL_PAGES;
    chunk_purge();
    left--
}

/* ---- what holds ---- */

#define is_free(chunk) (!has(USED, chunk))
#define kept_pages(chunk) (has(KEPT, chunk) -> resident[chunk] : 0)
#define all_pages (resident[1] + resident[2] + resident[3])

inline look_at_all()
{
    assert(footprint >= all_pages && footprint <= LIMIT);
    assert(retained >= kept_pages(1) + kept_pages(2) + kept_pages(3));
    for (g : YOUNG .. CHUNKS - 1) {
        assert(is_free(g) == (owner[g] == NOBODY));
        assert(!is_free(g) || has(KEPT, g) == resident[g]);
        assert(g < low_end || (is_free(g) && !has(KEPT, g)))
    }
    g = 0
}

active proctype Check()
{
    byte g;
    do
    :: d_step { look_at_all() }
    :: left == 0 -> break
    od;
    assert(footprint == all_pages && retained == all_pages);
    assert(!map[USED] && !map[USED + 1]);
    assert(!HINT || low_hint == YOUNG)
}
