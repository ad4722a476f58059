/* Uses the library of plugin.c. */
int plugin_run(void);

int main(void)
{
    return plugin_run();
}
