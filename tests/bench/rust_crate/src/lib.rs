//! sized_alloc and sized_free of malloc/mix.h, served by the crate emma as a Rust program would use it.

use std::alloc::{GlobalAlloc, Layout};

/// What most Rust objects ask for; the workloads keep nothing that needs more in these blocks.
const ALIGNMENT: usize = 8;

static EMMA: emma::DefaultEmma = emma::DefaultEmma::new();

#[no_mangle]
pub unsafe extern "C" fn sized_alloc(bytes: usize) -> *mut u8 {
    EMMA.alloc(Layout::from_size_align_unchecked(bytes, ALIGNMENT))
}

#[no_mangle]
pub unsafe extern "C" fn sized_free(block: *mut u8, bytes: usize) {
    EMMA.dealloc(block, Layout::from_size_align_unchecked(bytes, ALIGNMENT))
}
