/* other.c - a program with a struct of the same name that is not the allocator's. */
struct emma {
    int answer;
};

struct emma other = { 42 };

void stop_idle(void);

__attribute__((noinline)) void stop_idle(void)
{
    other.answer++;
}

int main(void)
{
    stop_idle();
    return other.answer == 42;
}
