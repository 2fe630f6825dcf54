//! Programs: futures polled in the order in which they were woken.
//!
//! One thread, no clock: between two events of the world every program that can go on goes on. A waker holds
//! the task's number and an `Arc` to the ready list, because `Waker` must be `Send`; nothing is ever sent.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use super::NodeId;
use super::chance::{self, Stream};

/// A program.
pub(crate) type Program = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    host: NodeId,
    program: Program,
    wake: Arc<TaskWake>,
    waker: Waker,
    stream: Stream,
}

struct TaskWake {
    task: u32,
    queued: AtomicBool,
    ready: Arc<Mutex<VecDeque<u32>>>,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            // A panic of a program leaves the list whole.
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.task);
        }
    }
}

/// All programs of a world.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: Vec<Option<Task>>,
    free: Vec<u32>,
    ready: Arc<Mutex<VecDeque<u32>>>,
    pub living: usize,
    pub polls: u64,
}

impl Executor {
    /// Takes a program; it is polled before the next event.
    pub fn spawn(&mut self, host: NodeId, program: Program, seed: u64) {
        let task = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            u32::try_from(self.tasks.len() - 1).expect("fewer than 2^32 programs run at once")
        });
        let wake = Arc::new(TaskWake { task, queued: AtomicBool::new(false), ready: self.ready.clone() });
        let waker = Waker::from(wake.clone());
        waker.wake_by_ref();
        self.tasks[task as usize] = Some(Task { host, program, wake, waker, stream: Stream::new(seed) });
        self.living += 1;
    }

    /// Host of the program that [`step`](Self::step) will poll, if that still lives; nothing when none is
    /// ready.
    pub fn next_host(&self) -> Option<Option<NodeId>> {
        let next = self.ready.lock().unwrap_or_else(PoisonError::into_inner).front().copied()?;
        Some(self.tasks[next as usize].as_ref().map(|task| task.host))
    }

    /// Polls one program that is ready; false when none is.
    pub fn step(&mut self) -> bool {
        let next = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(index) = next else { return false };
        // A wake of a finished program, or of a slot that another one has taken since, is harmless.
        let Some(task) = self.tasks[index as usize].as_mut() else { return true };
        task.wake.queued.store(false, Ordering::Relaxed);
        self.polls += 1;
        let mut context = Context::from_waker(&task.waker);
        let done = chance::scope(&mut task.stream, || task.program.as_mut().poll(&mut context).is_ready());
        if done {
            // Dropped under its own stream: closing a connection may draw from it.
            if let Some(Task { program, mut stream, .. }) = self.tasks[index as usize].take() {
                chance::scope(&mut stream, || drop(program));
            }
            self.free.push(index);
            self.living -= 1;
        }
        true
    }
}
