//! Errors, as the package's JavaScript makes a `PosthouseError` of them.

use napi_derive::napi;

/// What went wrong.
#[napi(object, object_from_js = false)]
pub struct Failure {
    /// The kind, such as `topic_not_found`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Whether the same call may work later.
    pub retryable: bool,
    /// The code on the wire.
    pub response_code: Option<i32>,
    /// The topic it is about.
    pub topic: Option<String>,
    /// The broker it is about.
    pub broker: Option<String>,
}

impl From<ffi::Error> for Failure {
    fn from(error: ffi::Error) -> Failure {
        Failure {
            code: error.code.as_str(),
            message: error.message,
            retryable: error.retryable,
            response_code: error.response_code,
            topic: error.topic,
            broker: error.broker,
        }
    }
}

/// The kind of an error that is thrown at once; it becomes the `code` of the thrown object.
pub struct Kind(&'static str);

impl AsRef<str> for Kind {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl From<napi::Status> for Kind {
    fn from(_: napi::Status) -> Kind {
        Kind(ffi::Code::Internal.as_str())
    }
}

/// A result whose error is thrown at once.
pub type Result<T> = std::result::Result<T, napi::Error<Kind>>;

/// The error to be thrown.
pub fn thrown(error: impl Into<ffi::Error>) -> napi::Error<Kind> {
    let error = error.into();
    napi::Error::new(Kind(error.code.as_str()), error.message)
}
