//! SQL92 expressions over a message's properties: the language of `MessageSelector.bySql`.
//!
//! ```text
//! or         := and ( OR and )*
//! and        := equality ( AND equality )*
//! equality   := comparison ( '=' comparison | '<>' comparison | IS [NOT] NULL )*
//! comparison := unary ( ('>' | '>=' | '<' | '<=') unary
//!                     | [NOT] CONTAINS text | [NOT] STARTSWITH text | [NOT] ENDSWITH text
//!                     | [NOT] BETWEEN unary AND unary | [NOT] IN '(' text ( ',' text )* ')' )*
//! unary      := '+' unary | '-' unary | NOT unary | primary
//! primary    := text | integer | float | TRUE | FALSE | NULL | property | '(' or ')'
//! ```
//! Properties are texts; a missing one is null. What an expression means is what Apache's classes
//! make of it, oddities included ([`eval`]). What *is* an expression is stricter: Apache stops reading
//! where its grammar ends and takes what it has, so `a LIKE 'x%'` is `a`, which is never true, and
//! nothing is ever delivered. Here the whole text must be an expression, unless an operator asks for
//! the old behaviour ([`Compat::Lenient`]).

mod eval;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use eval::Node;

/// How much of an expression's text must be an expression (`sql92Compat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// All of it.
    Strict,
    /// As much as Apache's parser reads; the rest is ignored.
    Lenient,
}

/// A compiled expression.
pub(crate) struct Expression {
    /// The names of the properties it reads, each with the separator that follows a name.
    names: Vec<Box<[u8]>>,
    /// A bit for each name's first byte: see [`eval::first`].
    firsts: u64,
    root: Node,
    heavy: bool,
}

impl Expression {
    /// Compiles a text.
    pub fn parse(text: &str, compat: Compat) -> Result<Expression, Refusal> {
        let parsed = parse::parse(text, compat)?;
        Ok(Expression {
            firsts: (parsed.names.iter()).fold(0, |bits, name| bits | eval::first(name)),
            names: parsed.names,
            heavy: parsed.nodes > 32,
            root: parsed.root,
        })
    }

    /// Whether a message with these stored properties passes. One whose properties do not fit the
    /// expression (`a > 1` for an `a` that is no number) does not.
    pub fn passes(&self, properties: &[u8]) -> bool {
        matches!(self.truth(properties), Ok(Some(true)))
    }

    /// Whether one evaluation may take long enough to look at the clock behind each.
    pub fn is_heavy(&self) -> bool {
        self.heavy
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.root).finish()
    }
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Where, in characters, from 1 on.
    character: usize,
    what: String,
    hint: Option<&'static str>,
}

impl Refusal {
    fn new(text: &str, at: usize, what: impl Into<String>, hint: Option<&'static str>) -> Refusal {
        Refusal {
            character: text.get(..at).unwrap_or(text).chars().count() + 1,
            what: what.into(),
            hint,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.character, self.what)?;
        match self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
