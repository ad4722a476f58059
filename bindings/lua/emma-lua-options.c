/* emma-lua-options.c - reads the command line: lua's options, and --limit, --soft-limit, --stats,
 * --report, --sample, --export.
 *
 * The whole line is checked before a state exists, as lua does; emma-lua.c decodes it once more to
 * run -e, -l and -W in their order. */
#include "emma-lua.h"
#include "../emma_size.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct long_option {
    const char *name;
    enum option_kind kind;
    enum { VALUE_NONE, VALUE_NEEDED, VALUE_ATTACHED } value; /* ATTACHED: by '=', or none */
} long_option;

static const long_option long_options[] = {
    { "--limit", OPTION_LIMIT, VALUE_NEEDED },
    { "--soft-limit", OPTION_SOFT_LIMIT, VALUE_NEEDED },
    { "--stats", OPTION_STATS, VALUE_NONE },
    { "--report", OPTION_REPORT, VALUE_NEEDED },
    { "--sample", OPTION_SAMPLE, VALUE_ATTACHED },
    { "--export", OPTION_EXPORT, VALUE_NONE },
};
#define LONG_OPTION_COUNT (sizeof long_options / sizeof long_options[0])

/* The next word as an argument. As in lua, another option is not taken for one. */
static bool take_next_word(char **argv, int *index, char **value)
{
    char *next = argv[*index + 1];
    if (next == NULL || next[0] == '-')
        return false;
    *value = next;
    ++*index;
    return true;
}

static enum option_kind decode_long(char **argv, int *index, char **value)
{
    const char *word = argv[*index];
    for (size_t i = 0; i < LONG_OPTION_COUNT; i++) {
        const long_option *option = &long_options[i];
        size_t length = strlen(option->name);
        if (strncmp(word, option->name, length) != 0)
            continue;
        if (word[length] == '\0' && option->value != VALUE_NEEDED)
            return option->kind;
        if (word[length] == '\0')
            return take_next_word(argv, index, value) ? option->kind : OPTION_BARE;
        if (word[length] == '=' && option->value != VALUE_NONE) {
            *value = argv[*index] + length + 1;
            return option->kind;
        }
    }
    return OPTION_BAD;
}

static enum option_kind decode_with_value(enum option_kind kind, char **argv, int *index,
                                          char **value)
{
    char *attached = argv[*index] + 2;
    if (*attached == '\0')
        return take_next_word(argv, index, value) ? kind : OPTION_BARE;
    *value = attached;
    return kind;
}

enum option_kind emmai_options_decode(char **argv, int *index, char **value)
{
    const char *word = argv[*index];
    if (word == NULL || word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0)
        return OPTION_END;
    if (word[1] == '-')
        return decode_long(argv, index, value);
    if (word[1] == 'e')
        return decode_with_value(OPTION_EXECUTE, argv, index, value);
    if (word[1] == 'l')
        return decode_with_value(OPTION_REQUIRE, argv, index, value);
    if (word[2] != '\0')
        return OPTION_BAD;
    switch (word[1]) {
    case 'i':
        return OPTION_INTERACTIVE;
    case 'v':
        return OPTION_VERSION;
    case 'E':
        return OPTION_ENVIRONMENT;
    case 'W':
        return OPTION_WARNINGS;
    default:
        return OPTION_BAD;
    }
}

/* `next`: the word behind, which may have been meant as the argument; NULL: there is none. */
static void print_usage(enum option_kind kind, const char *word, const char *next)
{
    const char *program = emmai_cli.program;
    if (kind == OPTION_BARE && word[1] == '-' && next != NULL)
        fprintf(stderr, "%s: '%s' needs argument, and '%s' is taken for an option\n", program, word,
                next);
    else if (kind == OPTION_BARE) /* as lua says it */
        fprintf(stderr, "%s: '%s' needs argument\n", program, word);
    else
        fprintf(stderr, "%s: unrecognized option '%s'\n", program, word);
    fprintf(stderr,
            "usage: %s [options] [script [args]]\n"
            "Available options are:\n"
            "  -e stat            run the string 'stat'\n"
            "  -i                 go interactive once 'script' has run\n"
            "  -l mod             require 'mod' into the global 'mod'\n"
            "  -l g=mod           require 'mod' into the global 'g'\n"
            "  -v                 print the version\n"
            "  -E                 do not look at environment variables\n"
            "  -W                 switch warnings on\n"
            "  --limit SIZE       let the program have at most SIZE of memory\n"
            "  --soft-limit SIZE  warn once when it takes more than SIZE\n"
            "  --stats            print figures of its memory at exit\n"
            "  --report FILE      write them to FILE: .html to look at, .json or .svg\n"
            "  --sample[=SIZE]    tell in the report which lines allocate, from a sample each SIZE "
            "(512K)\n"
            "  --export           show them to 'emma top' while it runs\n"
            "  --                 what follows is the script and its arguments\n"
            "  -                  run the standard input, its arguments follow\n"
            "SIZE is a number of bytes, or of K, M or G (1024 times each): 64M\n",
            program);
}

static bool refuse(const char *option, const char *text, const char *why)
{
    fprintf(stderr, "%s: %s: '%s' %s\n", emmai_cli.program, option, text, why);
    return false;
}

static bool read_size(const char *option, const char *text, size_t least, size_t *bytes)
{
    size_t count;
    enum emmai_size_result result = emmai_size_read(text, strlen(text), &count);
    if (result == EMMAI_SIZE_NONE)
        return refuse(option, text, "is not a size (use bytes or K, M, G)");
    if (result == EMMAI_SIZE_TOO_LARGE)
        return refuse(option, text, "is too large");
    if (count < least) {
        char why[64];
        snprintf(why, sizeof why, "is below the minimum of %zu byte%s", least,
                 least == 1 ? "" : "s");
        return refuse(option, text, why);
    }
    *bytes = count;
    return true;
}

static bool soft_limit_fits(const char *soft_text, const char *limit_text)
{
    if (soft_text == NULL || limit_text == NULL)
        return true;
    if (emmai_cli.options.soft_limit_bytes <= emmai_cli.options.limit_bytes)
        return true;
    fprintf(stderr, "%s: --soft-limit: '%s' is above the --limit of '%s'\n", emmai_cli.program,
            soft_text, limit_text);
    return false;
}

bool emmai_options_read(void)
{
    cli_options *options = &emmai_cli.options;
    char **argv = emmai_cli.argv;
    const char *limit_text = NULL;
    const char *soft_text = NULL;
    int index = 1;
    *options = (cli_options){ .limit_bytes = EMMA_UNLIMITED, .soft_limit_bytes = EMMA_UNLIMITED };
    for (;; index++) {
        const char *word = argv[index];
        char *value = NULL;
        enum option_kind kind = emmai_options_decode(argv, &index, &value);
        if (kind == OPTION_END)
            break;
        switch (kind) {
        case OPTION_BARE:
        case OPTION_BAD:
            print_usage(kind, word, argv[index + 1]);
            return false;
        case OPTION_INTERACTIVE:
            options->interactive = options->show_version = true;
            break;
        case OPTION_VERSION:
            options->show_version = true;
            break;
        case OPTION_EXECUTE:
            options->runs_strings = true;
            break;
        case OPTION_ENVIRONMENT:
            options->ignore_environment = true;
            break;
        case OPTION_STATS:
            options->show_stats = true;
            break;
        case OPTION_REPORT:
            options->report_path = value;
            break;
        case OPTION_EXPORT:
            options->exports = true;
            break;
        case OPTION_LIMIT:
            limit_text = value;
            if (!read_size("--limit", value, EMMA_LIMIT_MIN_BYTES, &options->limit_bytes))
                return false;
            break;
        case OPTION_SOFT_LIMIT:
            soft_text = value;
            if (!read_size("--soft-limit", value, EMMA_LIMIT_MIN_BYTES, &options->soft_limit_bytes))
                return false;
            break;
        case OPTION_SAMPLE:
            options->sample_bytes = EMMA_SAMPLE_RATE_BYTES;
            if (value != NULL && !read_size("--sample", value, 1, &options->sample_bytes))
                return false;
            break;
        default:
            break; /* -l and -W: their turn comes with the state */
        }
    }
    if (argv[index] != NULL && strcmp(argv[index], "--") == 0)
        index++;
    options->script = index;
    if (options->sample_bytes != 0 && options->report_path == NULL) {
        fprintf(stderr, "%s: --sample needs --report, which tells what was sampled\n",
                emmai_cli.program);
        return false;
    }
    return soft_limit_fits(soft_text, limit_text);
}
