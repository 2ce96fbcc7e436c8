//! Whether a message passes what a consumer asked for: by the tag code in its queue entry, or by the
//! properties in its record.
//!
//! An expression may come by a heartbeat, with a pull, with a pop or to be checked; it is compiled by
//! [`Filters::compile`] or [`Filters::of`] in each case, so what is no expression is refused in the
//! same words everywhere. Nothing that is not understood is ever taken for "no filter".

mod cache;
pub(crate) mod sql;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use model::subscription::{ExpressionKind, Subscription};
use model::tag::java_hash;

use crate::{Error, Options, limits};
use cache::Cache;
use sql::{Compat, Expression};

/// What a consumer wants of a queue. Clones share what was compiled.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    /// Everything passes.
    All,
    /// Messages whose tag has one of these hashes.
    Tags(Arc<[i32]>),
    /// Messages whose properties fit.
    Sql(Arc<Expression>),
}

impl Filter {
    /// Whether an entry with this tag code and these stored properties passes. Tags that collide pass
    /// too: clients compare the text.
    pub fn passes(&self, tags_code: i64, properties: &[u8]) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(codes) => codes.contains(&(tags_code as i32)),
            Filter::Sql(expression) => expression.passes(properties),
        }
    }

    /// Whether [`Filter::passes`] needs more of a message than its queue entry.
    pub fn reads_properties(&self) -> bool {
        matches!(self, Filter::Sql(_))
    }
}

/// Compiles expressions, and remembers those in use.
#[derive(Debug)]
pub(crate) struct Filters {
    sql: bool,
    compat: Compat,
    known: Mutex<Cache>,
}

impl Filters {
    pub fn new(options: &Options) -> Filters {
        Filters {
            sql: options.property_filter,
            compat: options.sql92,
            known: Mutex::default(),
        }
    }

    /// The filter of an expression as it came, without anything else. An absent or empty kind means
    /// tags.
    ///
    /// # Errors
    /// [`Error::SubscriptionUnparsable`], [`Error::SqlNotSupported`].
    pub fn compile(&self, kind: Option<&str>, expression: &str) -> Result<Filter, Error> {
        match kind {
            None | Some("" | "TAG") => tags(expression),
            Some("SQL92") => self.sql(expression),
            Some(other) => Err(unknown(other)),
        }
    }

    /// The filter of a subscription, whose tags the client has hashed already.
    ///
    /// # Errors
    /// As [`Filters::compile`].
    pub fn of(&self, subscription: &Subscription) -> Result<Filter, Error> {
        match &subscription.kind {
            ExpressionKind::Tag if is_all(&subscription.expression) => Ok(Filter::All),
            ExpressionKind::Tag if subscription.codes.is_empty() && !subscription.class_filter => {
                tags(&subscription.expression)
            }
            ExpressionKind::Tag => Ok(Filter::Tags(subscription.codes.as_slice().into())),
            ExpressionKind::Sql92 => self.sql(&subscription.expression),
            ExpressionKind::Other(other) => Err(unknown(other)),
        }
    }

    fn sql(&self, text: &str) -> Result<Filter, Error> {
        if !self.sql {
            return Err(Error::SqlNotSupported);
        }
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.find(text)
        };
        if let Some(expression) = known {
            return Ok(Filter::Sql(expression));
        }
        let compiled = Expression::parse(text, self.compat);
        let compiled = compiled.map_err(|why| Error::SubscriptionUnparsable(why.to_string()))?;
        let compiled = Arc::new(compiled);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.keep(text, &compiled);
        Ok(Filter::Sql(compiled))
    }
}

fn tags(expression: &str) -> Result<Filter, Error> {
    if is_all(expression) {
        return Ok(Filter::All);
    }
    if expression.len() > limits::EXPRESSION {
        return Err(too_long(expression.len()));
    }
    let tags = expression.split("||").map(str::trim);
    let codes: Arc<[i32]> = tags.filter(|tag| !tag.is_empty()).map(java_hash).collect();
    if codes.is_empty() {
        let why = "there is no tag in the expression".to_owned();
        return Err(Error::SubscriptionUnparsable(why));
    }
    Ok(Filter::Tags(codes))
}

/// Refuses a subscription that takes more memory than one may.
pub(crate) fn check_size(subscription: &Subscription) -> Result<(), Error> {
    let tags: usize = subscription.tags.iter().map(|tag| tag.len() + 8).sum();
    let kind = subscription.kind.as_str().len();
    let bytes = (subscription.expression.len() + kind).max(tags / 4);
    if bytes > limits::EXPRESSION || subscription.codes.len() > limits::EXPRESSION / 2 {
        return Err(too_long(bytes));
    }
    Ok(())
}

fn too_long(bytes: usize) -> Error {
    Error::SubscriptionUnparsable(format!(
        "an expression has up to {} bytes, not {bytes}",
        limits::EXPRESSION
    ))
}

fn unknown(kind: &str) -> Error {
    let kind: String = kind.chars().take(32).collect();
    Error::SubscriptionUnparsable(format!(
        "the expression type {kind} is unknown, there are TAG and SQL92"
    ))
}

fn is_all(expression: &str) -> bool {
    expression.is_empty() || expression == "*"
}
