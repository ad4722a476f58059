/* mix_numbers.c - arithmetic with big numbers, a block for each result: factorials by repeated
 * multiplication, where every number is freed when the next one is there. Checked by the same
 * reckoned modulo a prime. */
#include "mix.h"

#define DIGIT_BITS   32
#define FACTORIAL_OF 200
#define CHECK_PRIME  UINT64_C(4294967291)
#define KEPT_NUMBERS 64 /* results that live on for a while, as those of a longer formula */

typedef struct mix_number {
    size_t length; /* digits, the lowest first */
    uint32_t digits[];
} mix_number;

static size_t number_bytes(size_t length)
{
    return sizeof(mix_number) + length * sizeof(uint32_t);
}

static mix_number *new_number(mix_thread *self, size_t length)
{
    mix_number *fresh = must(sized_alloc(number_bytes(length)));
    fresh->length = length;
    self->operations++;
    return fresh;
}

static void free_number(mix_number *old)
{
    if (old != NULL)
        sized_free(old, number_bytes(old->length));
}

/* A new number: factor times `by`, to which a digit is added only if it is needed. */
static mix_number *multiply(mix_thread *self, const mix_number *factor, uint32_t by)
{
    uint64_t carry = 0;
    for (size_t i = 0; i < factor->length; i++)
        carry = (factor->digits[i] * (uint64_t)by + carry) >> DIGIT_BITS;
    mix_number *product = new_number(self, factor->length + (carry != 0));
    product->digits[product->length - 1] = (uint32_t)carry;
    carry = 0;
    for (size_t i = 0; i < factor->length; i++) {
        carry += factor->digits[i] * (uint64_t)by;
        product->digits[i] = (uint32_t)carry;
        carry >>= DIGIT_BITS;
    }
    return product;
}

static uint64_t modulo(const mix_number *number, uint64_t prime)
{
    uint64_t rest = 0;
    for (size_t i = number->length; i-- > 0;)
        rest = (rest << DIGIT_BITS | number->digits[i]) % prime;
    return rest;
}

void run_big_numbers(mix_thread *self)
{
    mix_number *kept[KEPT_NUMBERS] = { NULL };
    for (uint64_t turn = 0; turn < self->iterations; turn++) {
        mix_number *product = new_number(self, 1);
        uint64_t check = 1;
        product->digits[0] = 1;
        for (uint32_t factor = 2; factor <= FACTORIAL_OF; factor++) {
            mix_number *next = multiply(self, product, factor);
            size_t slot = mix_below(self, KEPT_NUMBERS);
            free_number(kept[slot]);
            kept[slot] = product;
            product = next;
            check = check * factor % CHECK_PRIME;
        }
        if (modulo(product, CHECK_PRIME) != check)
            fail("a factorial is wrong");
        free_number(product);
    }
    for (size_t slot = 0; slot < KEPT_NUMBERS; slot++)
        free_number(kept[slot]);
}
