//! A bell that wakes programs when the circumstances of a cell change.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// Rung once for each change.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Bell {
    /// Wakes all who wait.
    pub fn ring(&self) {
        self.rung.set(self.rung.get() + 1);
        self.wakers.take().into_iter().for_each(Waker::wake);
    }

    /// Waits for the next ring.
    pub async fn next(&self) {
        let seen = self.rung.get();
        poll_fn(|context| {
            if self.rung.get() != seen {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
