//! `posthouse._native`: the Rust half of the Python package. It translates and nothing more; what a user
//! sees is the typed Python over it, in `python/src/posthouse`.
//!
//! A blocking call gives the interpreter free and looks for signals every 100 ms. A call for asyncio gets a
//! [`pump::Pump`] and an id, returns at once, and its result is taken from the pump later. No thread of
//! Rust's ever runs Python.

mod admin;
mod call;
mod client;
mod convert;
mod error;
mod journal;
mod message;
mod producer;
mod pull;
mod pump;
mod push;
mod received;
mod request;
mod server;
mod simple;
mod transaction;
mod view;

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The native half.
#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::admin::Admin;
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::journal::{log_lines, log_wanted};
    #[pymodule_export]
    use super::message::{Message, MessageQueue, Sql};
    #[pymodule_export]
    use super::producer::Producer;
    #[pymodule_export]
    use super::pull::PullConsumer;
    #[pymodule_export]
    use super::pump::Pump;
    #[pymodule_export]
    use super::push::PushConsumer;
    #[pymodule_export]
    use super::received::{ReceivedMessage, SendResult, received_of, sent_of};
    #[pymodule_export]
    use super::request::{recall, reply, request};
    #[pymodule_export]
    use super::server::Server;
    #[pymodule_export]
    use super::simple::SimpleConsumer;
    #[pymodule_export]
    use super::transaction::{
        Half, answer_check, begin, resolve, take_checks, wait_checks, wake_checks,
    };

    /// For a child right after a fork: gives up what must not stay open in it.
    #[pyfunction]
    fn after_fork_in_child() {
        ffi::after_fork_in_child();
        journal::forget();
    }

    /// A message from the arguments that made it; for pickle.
    #[pyfunction]
    fn _message_of<'py>(
        py: Python<'py>,
        arguments: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        py.get_type::<Message>().call((), Some(arguments))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("LOG_AREAS", ffi::AREAS)?;
        module.add("__version__", ffi::VERSION)
    }
}
