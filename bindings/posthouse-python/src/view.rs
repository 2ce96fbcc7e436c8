//! The bytes of a body as Python's buffers, without a copy: the one file of this crate that may be unsafe, because
//! nothing safe fills in a `Py_buffer`.

use std::os::raw::{c_int, c_void};

use bytes::Bytes;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Bytes that never change and stay where they are while this lives. Every view of them holds it, so that they outlive
/// their message, its consumer and its client.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Body {
    pub bytes: Bytes,
}

#[pymethods]
impl Body {
    #[allow(unsafe_code)]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().bytes;
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill in"));
        }
        let length = bytes.len() as ffi::Py_ssize_t;
        // SAFETY: `view` is Python's own, to be filled in, and not null. The bytes are said to be read-only, so nobody
        // writes to them; `PyBuffer_FillInfo` takes a reference to `slf` into the view, and gives that back when the
        // view is released, so the bytes are there as long as anybody may look at them. Nothing else needs releasing.
        let filled = unsafe {
            let start = bytes.as_ptr().cast_mut().cast::<c_void>();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, 1, flags)
        };
        match filled {
            0 => Ok(()),
            // Who asks for a buffer to write to.
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}
