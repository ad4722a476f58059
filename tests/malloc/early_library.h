extern void *early_block;
