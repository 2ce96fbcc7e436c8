//! Compiled expressions by their text, so that a client that sends one with each pull has it compiled
//! once. The oldest go; who still uses one keeps it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::sql::Expression;
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Cache {
    known: HashMap<Arc<str>, Arc<Expression>>,
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

impl Cache {
    pub fn find(&self, text: &str) -> Option<Arc<Expression>> {
        self.known.get(text).cloned()
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn keep(&mut self, text: &str, expression: &Arc<Expression>) {
        let key: Arc<str> = text.into();
        let before = self.known.insert(Arc::clone(&key), Arc::clone(expression));
        if before.is_some() {
            return;
        }
        self.bytes += key.len();
        self.order.push_back(key);
        while self.order.len() > limits::EXPRESSIONS
            || self.bytes > limits::EXPRESSIONS_BYTES && self.order.len() > 1
        {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
    }
}
