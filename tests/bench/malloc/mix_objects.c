/* mix_objects.c - an index of words as a program in C would write it: a hash table of entries, each
 * with its word and a list of the places where it stands, and a binary tree of the words in order.
 * All of them small blocks linked with each other, freed in another order than they were made. */
#include "mix.h"

#define INDEX_BUCKETS    (1u << 14)
#define WORD_MAX_BYTES   40
#define PLACES_PER_INDEX 100000
#define WORDS_PER_INDEX  20000
#define HASH_START       UINT64_C(14695981039346656037)
#define HASH_FACTOR      UINT64_C(1099511628211)

typedef char word_list[WORDS_PER_INDEX][WORD_MAX_BYTES];

typedef struct mix_place {
    struct mix_place *next;
    uint64_t position;
} mix_place;

typedef struct mix_entry {
    struct mix_entry *next;
    char *word;
    mix_place *places;
    uint64_t count;
} mix_entry;

/* Ordered by hash, which keeps it flat. */
typedef struct mix_node {
    struct mix_node *left, *right;
    mix_entry *entry;
    uint64_t hash;
} mix_node;

typedef struct word_index {
    mix_entry *buckets[INDEX_BUCKETS];
    mix_node *root;
    uint64_t position_sum;
} word_index;

static uint64_t hash_word(const char *word)
{
    uint64_t hash = HASH_START;
    for (; *word != '\0'; word++)
        hash = (hash ^ (unsigned char)*word) * HASH_FACTOR;
    return hash ^ hash >> 29;
}

static void *counted_malloc(mix_thread *self, size_t bytes)
{
    self->operations++;
    return must(malloc(bytes));
}

static void add_node(mix_thread *self, word_index *index, mix_entry *entry, uint64_t hash)
{
    mix_node **link = &index->root;
    while (*link != NULL)
        link = hash < (*link)->hash ? &(*link)->left : &(*link)->right;
    mix_node *fresh = counted_malloc(self, sizeof *fresh);
    *fresh = (mix_node){ .entry = entry, .hash = hash };
    *link = fresh;
}

static mix_entry *find_entry(mix_thread *self, word_index *index, const char *word)
{
    uint64_t hash = hash_word(word);
    mix_entry **bucket = &index->buckets[hash % INDEX_BUCKETS];
    for (mix_entry *found = *bucket; found != NULL; found = found->next) {
        if (strcmp(found->word, word) == 0)
            return found;
    }
    mix_entry *fresh = counted_malloc(self, sizeof *fresh);
    size_t bytes = strlen(word) + 1;
    *fresh = (mix_entry){ .next = *bucket, .word = counted_malloc(self, bytes) };
    memcpy(fresh->word, word, bytes);
    *bucket = fresh;
    add_node(self, index, fresh, hash);
    return fresh;
}

static void add_place(mix_thread *self, word_index *index, const char *word, uint64_t position)
{
    mix_entry *entry = find_entry(self, index, word);
    mix_place *fresh = counted_malloc(self, sizeof *fresh);
    *fresh = (mix_place){ .next = entry->places, .position = position };
    entry->places = fresh;
    entry->count++;
    index->position_sum += position;
}

static uint64_t sum_positions(const mix_node *node)
{
    if (node == NULL)
        return 0;
    uint64_t sum = sum_positions(node->left) + sum_positions(node->right), count = 0;
    for (const mix_place *place = node->entry->places; place != NULL; place = place->next) {
        sum += place->position;
        count++;
    }
    if (count != node->entry->count)
        fail("the word '%s' lost a place", node->entry->word);
    return sum;
}

static void free_nodes(mix_node *node)
{
    if (node == NULL)
        return;
    free_nodes(node->left);
    free_nodes(node->right);
    free(node);
}

static void free_entry(mix_entry *entry)
{
    for (mix_place *place = entry->places, *next; place != NULL; place = next) {
        next = place->next;
        free(place);
    }
    free(entry->word);
    free(entry);
}

static void free_index(word_index *index)
{
    free_nodes(index->root);
    for (size_t i = 0; i < INDEX_BUCKETS; i++) {
        for (mix_entry *entry = index->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            free_entry(entry);
        }
    }
    free(index);
}

/* Words of 3 to 38 letters, the same number the same word. */
static void make_word(uint64_t number, char *word)
{
    static const char syllables[] = "barelotikusanemo";
    size_t length = 3 + number * 7 % 32, at = 0;
    for (uint64_t rest = number + 1; at < length; rest = rest * 5 + 1)
        word[at++] = syllables[rest % (sizeof syllables - 1)];
    for (; number > 0; number /= 26) /* so that no two are the same */
        word[at++] = (char)('a' + number % 26);
    word[at] = '\0';
}

void *prepare_objects(unsigned threads)
{
    (void)threads;
    static word_list words;
    for (size_t i = 0; i < WORDS_PER_INDEX; i++)
        make_word(i, words[i]);
    return words;
}

void run_objects(mix_thread *self)
{
    word_list *words = self->shared;
    for (uint64_t done = 0; done < self->iterations; done += PLACES_PER_INDEX) {
        word_index *index = must(calloc(1, sizeof *index));
        uint64_t places = self->iterations - done;
        places = places < PLACES_PER_INDEX ? places : PLACES_PER_INDEX;
        for (uint64_t i = 0; i < places; i++) {
            add_place(self, index, (*words)[mix_below(self, WORDS_PER_INDEX)], i);
        }
        if (sum_positions(index->root) != index->position_sum)
            fail("the index lost places");
        free_index(index);
    }
}
