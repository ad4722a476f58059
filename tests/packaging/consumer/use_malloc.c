/* Uses malloc as any program does, and prints whose it is: "emma VERSION". */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *text = NULL, version[32] = "";
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    malloc_info(0, stream);
    fclose(stream);
    const int found = sscanf(text, "<malloc version=\"emma %31[0-9.]\">", version);
    free(text);
    printf("%s %s\n", found == 1 ? "emma" : "not emma", version);
    return 0;
}
