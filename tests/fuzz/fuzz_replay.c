/* fuzz_replay DIRECTORY|FILE... - runs inputs of the fuzzer again, without libFuzzer: a saved
 * corpus as a test, a crash in a debugger. Exits with 0 when all ran; one that fails aborts, and
 * its name is the last one printed. */
#include "fuzz_ops.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX_BYTES = 1 << 20, PATH_MAX_BYTES = 4096 };

static unsigned char input[INPUT_MAX_BYTES];
static size_t inputs;

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    const size_t bytes = fread(input, 1, sizeof input, file);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(input, bytes);
    inputs++;
    return 0;
}

static int run_directory(const char *path, DIR *directory)
{
    int failed = 0;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char name[PATH_MAX_BYTES];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        failed |= run_file(name);
    }
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        if (directory) {
            failed |= run_directory(argv[i], directory);
            closedir(directory);
        } else {
            failed |= run_file(argv[i]);
        }
    }
    printf("%zu inputs\n", inputs);
    return failed || inputs == 0;
}
