//! A book of arms: gives each arm its time and collects them for the test keys.
//!
//! Tests fill an [`Arm`] and close it here. Times are seconds from the book's beginning, rounded to the
//! microsecond; the order in the file is the order of closing.

use core::cell::RefCell;

use okno_model::Failure;
use okno_wire::{Endpoint, Instant};
use serde_json::{Map, Value, json};

use crate::arms::{Arm, Role};
use crate::experiment::Context;
use crate::flow::{Series, round};
use crate::net::World;

/// Points of a series that are written at most.
const MOST_POINTS: usize = 120;

/// Arms of one measurement.
pub struct ArmBook {
    world: World,
    began: Instant,
    arms: RefCell<Vec<Arm>>,
    series: RefCell<Map<String, Value>>,
}

impl ArmBook {
    /// An empty book whose clock starts now.
    pub fn new(context: &Context) -> Self {
        Self {
            world: context.world.clone(),
            began: context.world.now(),
            arms: RefCell::default(),
            series: RefCell::default(),
        }
    }

    /// When the clock started.
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Seconds from the start to `at`.
    pub fn seconds(&self, at: Instant) -> f64 {
        round(at.since(self.began).as_secs_f64())
    }

    /// An arm that begins now.
    pub fn open(&self, name: impl Into<String>, role: Role, operation: &str) -> Arm {
        Arm {
            name: name.into(),
            role: Some(role),
            operation: operation.to_owned(),
            t0: self.seconds(self.world.now()),
            ..Arm::default()
        }
    }

    /// Closes an arm now.
    pub fn close(&self, mut arm: Arm) {
        arm.t = self.seconds(self.world.now());
        self.arms.borrow_mut().push(arm);
    }

    /// Keeps the arrivals of an arm beside it, under the arm's name.
    pub fn keep(&self, arm: &str, series: &Series) {
        self.series.borrow_mut().insert(arm.to_owned(), json!(series.thinned(MOST_POINTS)));
    }

    /// How many arms are closed.
    pub fn len(&self) -> usize {
        self.arms.borrow().len()
    }

    /// Whether no arm is closed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any closed arm whose name begins so failed.
    pub fn any_failed(&self, prefix: &str) -> bool {
        self.arms.borrow().iter().any(|arm| arm.name.starts_with(prefix) && !arm.worked())
    }

    /// Whether the arm that was closed last worked.
    pub fn last_worked(&self) -> bool {
        self.arms.borrow().last().is_some_and(Arm::worked)
    }

    /// `arms`, and `series` where any was kept: seconds and bytes until then, by arm.
    pub fn keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        keys.insert("arms".to_owned(), json!(*self.arms.borrow()));
        if !self.series.borrow().is_empty() {
            keys.insert("series".to_owned(), Value::Object(self.series.borrow().clone()));
        }
        keys
    }
}

impl Arm {
    /// With the address that is tried and the name that is shown.
    pub fn toward(mut self, endpoint: Endpoint, server_name: &str) -> Self {
        self.endpoint = endpoint.to_string();
        self.server_name = server_name.to_owned();
        self
    }

    /// Notes a failure and its step.
    pub fn fail(&mut self, at: &str, failure: Failure) {
        self.failure = Some(failure.as_str().to_owned());
        self.failed_at = at.to_owned();
    }

    /// Whether it worked.
    pub const fn worked(&self) -> bool {
        self.failure.is_none()
    }
}
