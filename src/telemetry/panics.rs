//! Decoders of foreign libraries that panic over damaged bytes: an answer for whoever asked, and nothing on the terminal.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

thread_local! {
    /// How many callers on this thread wait for a panic.
    static EXPECTED: Cell<u32> = const { Cell::new(0) };
}

/// From now on a panic that somebody catches is not printed; all others are, as before.
pub(crate) fn print_only_uncaught_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if EXPECTED.get() == 0 {
            print(panic);
        }
    }));
}

/// What `work` returns, or what it panicked with. What `work` changes must not be used after a panic.
pub(crate) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    EXPECTED.set(EXPECTED.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(EXPECTED.get() - 1);
    done.map_err(|panic| said(panic.as_ref()))
}

/// As [`catch_panic`], for a future, which ends with its first panic.
pub(crate) async fn catch_panic_in<F: Future>(work: F) -> Result<F::Output, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| match catch_panic(|| work.as_mut().poll(context)) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(said) => Poll::Ready(Err(said)),
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gave up without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_and_the_next_one_is_told_again() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        assert_eq!(catch_panic(|| -> u8 { panic!("page {}", 3) }), Err("page 3".to_owned()));
        assert_eq!(EXPECTED.get(), 0);
        let fails = async {
            tokio::task::yield_now().await;
            assert_eq!(EXPECTED.get(), 1);
            panic!("late")
        };
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let caught: Result<u8, String> = threads.block_on(catch_panic_in(fails));
        assert_eq!((caught, EXPECTED.get()), (Err("late".to_owned()), 0));
    }
}
