//! What an expression says of a message. Nothing is allocated: properties are found in one pass over
//! their stored text, and values are parts of it.
//!
//! The rules are those of Apache's classes, whatever one may think of them:
//! - There are true, false and null. A missing property is null; what compares with it is null, and
//!   null is no match. But `'x' = a` with a missing `a` is false, so `'x' <> a` is true, and two
//!   missing properties are equal.
//! - A property is a text. Compared with a number it is read as that number's type; where it is none,
//!   the message does not fit and is not matched, even if another branch is true. What stands left
//!   in AND and OR is looked at first, and decides alone if it can.
//! - A truth value left of a text does not fit either. A bare property is false, whatever it says.
//! - CONTAINS and its kin are false for a missing property and for an empty text; so are their NOTs.

use std::cmp::Ordering;

use model::message::VALUE_END;

use super::Expression;
use crate::limits;

/// An expression's tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    /// A property where a truth value must stand.
    Cast(usize),
    /// `TRUE`, `FALSE` or `NULL`.
    Truth(Option<bool>),
    Equal(Box<(Node, Node)>),
    IsNull(Box<Node>),
    Order(Order, Box<(Node, Node)>),
    In {
        slot: usize,
        not: bool,
        set: Set,
    },
    Match {
        how: Match,
        not: bool,
        left: Box<Node>,
        text: String,
    },
    Property(usize),
    Text(String),
    Int(i32),
    Long(i64),
    Double(f64),
    Negate(Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Contains,
    StartsWith,
    EndsWith,
}

/// The texts of an IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<Vec<u8>>);

impl Set {
    pub fn new(mut texts: Vec<Vec<u8>>) -> Set {
        texts.sort_unstable();
        texts.dedup();
        Set(texts)
    }

    fn contains(&self, text: &[u8]) -> bool {
        match self.0.len() {
            0..=4 => self.0.iter().any(|one| one == text),
            _ => (self.0.binary_search_by(|one| one.as_slice().cmp(text))).is_ok(),
        }
    }
}

/// A message whose properties are not of the kind that the expression needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    Text(&'a [u8]),
    Int(i32),
    Long(i64),
    Double(f64),
}

type Truth = Result<Option<bool>, Unfit>;

/// The properties' values, one for each slot.
type Values<'a> = [Option<&'a [u8]>];

/// So many properties are looked up in a table on the stack without clearing a large one.
const FEW: usize = 8;

impl Expression {
    /// What the expression says of a message with these stored properties.
    pub(super) fn truth(&self, properties: &[u8]) -> Truth {
        if self.names.len() <= FEW {
            self.truth_in(properties, &mut [None; FEW])
        } else {
            self.truth_in(properties, &mut [None; limits::EXPRESSION_PROPERTIES])
        }
    }

    fn truth_in<'a>(&'a self, properties: &'a [u8], values: &mut Values<'a>) -> Truth {
        self.find(properties, values);
        self.root.truth(values)
    }

    /// Finds the values of the expression's properties; of duplicates the last one counts.
    fn find<'a>(&self, properties: &'a [u8], values: &mut Values<'a>) {
        let mut rest = properties;
        while !rest.is_empty() {
            let end = value_end(rest);
            // The first byte tells most properties from all that are asked for.
            if self.firsts & first(rest) != 0 {
                for (name, value) in self.names.iter().zip(&mut *values) {
                    // A property without a value is none, as in Java. A call to compare names costs more
                    // than to see that they begin differently.
                    if rest.first() == name.first() && end > name.len() && rest.starts_with(name) {
                        *value = Some(&rest[name.len()..end]);
                    }
                }
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
}

/// A bit that is the same for all names with this first byte.
#[inline]
pub(super) fn first(name: &[u8]) -> u64 {
    name.first().map_or(0, |&byte| 1 << (byte & 63))
}

/// Where the first value ends; the end if there is no separator. Eight bytes a step: most of what an
/// evaluation costs is this walk.
#[inline]
pub(super) fn value_end(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word) ^ (ONES * VALUE_END as u64);
        // The first byte that is 0 now is marked; what is marked behind it may be wrong.
        let zero = word.wrapping_sub(ONES) & !word & (ONES * 0x80);
        if zero != 0 {
            return at + (zero.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail
        .iter()
        .position(|&byte| byte == VALUE_END)
        .unwrap_or(tail.len())
}

impl Node {
    /// Whether it stands for a truth value, so may stand where one must.
    pub fn is_boolean(&self) -> bool {
        !matches!(
            self,
            Node::Property(_)
                | Node::Text(_)
                | Node::Int(_)
                | Node::Long(_)
                | Node::Double(_)
                | Node::Negate(_)
        )
    }

    /// How two constants relate, if both are numbers.
    pub fn constant_order(&self, other: &Node) -> Option<Ordering> {
        let number = |node: &Node| match *node {
            Node::Int(number) => Some(Value::Int(number)),
            Node::Long(number) => Some(Value::Long(number)),
            Node::Double(number) => Some(Value::Double(number)),
            _ => None,
        };
        order(number(self)?, number(other)?).ok()
    }

    fn truth<'a>(&'a self, values: &Values<'a>) -> Truth {
        match self {
            Node::Or(all) => decide(all, values, true),
            Node::And(all) => decide(all, values, false),
            Node::Not(node) => Ok(node.truth(values)?.map(|truth| !truth)),
            Node::Cast(slot) => Ok(property(*slot, values).map(|_| false)),
            Node::Truth(truth) => Ok(*truth),
            Node::Equal(both) => equal(both.0.value(values)?, both.1.value(values)?),
            Node::IsNull(node) => Ok(Some(matches!(node.value(values)?, Value::Null))),
            Node::Order(how, both) => {
                let left = both.0.value(values)?;
                if matches!(left, Value::Null) {
                    return Ok(None);
                }
                let right = both.1.value(values)?;
                if matches!(right, Value::Null) {
                    return Ok(None);
                }
                let order = order(left, right)?;
                Ok(Some(match how {
                    Order::Less => order.is_lt(),
                    Order::LessOrEqual => order.is_le(),
                    Order::Greater => order.is_gt(),
                    Order::GreaterOrEqual => order.is_ge(),
                }))
            }
            Node::In { slot, not, set } => {
                Ok(property(*slot, values).map(|value| set.contains(value) != *not))
            }
            Node::Match {
                how,
                not,
                left,
                text,
            } => {
                if text.is_empty() {
                    return Ok(Some(false));
                }
                let Value::Text(value) = left.value(values)? else {
                    return Ok(Some(false));
                };
                Ok(Some(how.matches(value, text) != *not))
            }
            _ => Err(Unfit),
        }
    }

    fn value<'a>(&'a self, values: &Values<'a>) -> Result<Value<'a>, Unfit> {
        Ok(match self {
            Node::Property(slot) => property(*slot, values).map_or(Value::Null, Value::Text),
            Node::Text(text) => Value::Text(text.as_bytes()),
            Node::Int(number) => Value::Int(*number),
            Node::Long(number) => Value::Long(*number),
            Node::Double(number) => Value::Double(*number),
            Node::Negate(node) => match node.value(values)? {
                Value::Int(number) => Value::Int(number.wrapping_neg()),
                Value::Long(number) => Value::Long(number.wrapping_neg()),
                Value::Double(number) => Value::Double(-number),
                Value::Null | Value::Bool(_) | Value::Text(_) => Value::Null,
            },
            boolean => boolean.truth(values)?.map_or(Value::Null, Value::Bool),
        })
    }
}

fn property<'a>(slot: usize, values: &Values<'a>) -> Option<&'a [u8]> {
    values.get(slot).copied().flatten()
}

/// OR (where one true decides) and AND (where one false does).
fn decide<'a>(all: &'a [Node], values: &Values<'a>, decides: bool) -> Truth {
    let mut unknown = false;
    for node in all {
        match node.truth(values)? {
            Some(truth) if truth == decides => return Ok(Some(decides)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok((!unknown).then_some(!decides))
}

fn equal(left: Value<'_>, right: Value<'_>) -> Truth {
    match (left, right) {
        (Value::Null, Value::Null) => Ok(Some(true)),
        (Value::Null, _) => Ok(None),
        (_, Value::Null) => Ok(Some(false)),
        (Value::Text(left), Value::Text(right)) => Ok(Some(left == right)),
        _ => Ok(Some(order(left, right)?.is_eq())),
    }
}

/// How two values relate, once the text among them has become what the other one is.
fn order(left: Value<'_>, right: Value<'_>) -> Result<Ordering, Unfit> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(&right),
        (Value::Int(left), Value::Long(right)) => i64::from(left).cmp(&right),
        (Value::Long(left), Value::Int(right)) => left.cmp(&i64::from(right)),
        (Value::Long(left), Value::Long(right)) => left.cmp(&right),
        (Value::Double(left), Value::Double(right)) => doubles(left, right),
        (Value::Int(left), Value::Double(right)) => doubles(f64::from(left), right),
        (Value::Double(left), Value::Int(right)) => doubles(left, f64::from(right)),
        (Value::Long(left), Value::Double(right)) => doubles(left as f64, right),
        (Value::Double(left), Value::Long(right)) => doubles(left, right as f64),
        (Value::Text(left), Value::Int(right)) => integer::<i32>(left)?.cmp(&right),
        (Value::Int(left), Value::Text(right)) => left.cmp(&integer::<i32>(right)?),
        (Value::Text(left), Value::Long(right)) => integer::<i64>(left)?.cmp(&right),
        (Value::Long(left), Value::Text(right)) => left.cmp(&integer::<i64>(right)?),
        (Value::Text(left), Value::Double(right)) => doubles(double(left)?, right),
        (Value::Double(left), Value::Text(right)) => doubles(left, double(right)?),
        (Value::Text(left), Value::Text(right)) => doubles(double(left)?, double(right)?),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(&right),
        (Value::Text(left), Value::Bool(right)) => left.eq_ignore_ascii_case(b"true").cmp(&right),
        (Value::Bool(_), Value::Text(_)) => return Err(Unfit),
        // Not comparable, which for Apache is less.
        _ => Ordering::Less,
    })
}

/// Java's order of doubles: one NaN, above all others; -0 below 0.
fn doubles(left: f64, right: f64) -> Ordering {
    let one_nan = |number: f64| if number.is_nan() { f64::NAN } else { number };
    one_nan(left).total_cmp(&one_nan(right))
}

fn text(bytes: &[u8]) -> Result<&str, Unfit> {
    std::str::from_utf8(bytes).map_err(|_| Unfit)
}

fn integer<T: std::str::FromStr>(bytes: &[u8]) -> Result<T, Unfit> {
    text(bytes)?.parse().map_err(|_| Unfit)
}

/// As `Double.valueOf` reads, hexadecimal notation aside.
fn double(bytes: &[u8]) -> Result<f64, Unfit> {
    let text = text(bytes)?.trim_matches(|c: char| c <= ' ');
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match unsigned {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(sign * f64::INFINITY),
        _ => {}
    }
    let digits = match unsigned.strip_suffix(['f', 'F', 'd', 'D']) {
        Some(digits) => digits,
        None => unsigned,
    };
    // Rust reads words that Java does not, and signs were read above.
    let numeric = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if !digits.bytes().next().is_some_and(numeric) {
        return Err(Unfit);
    }
    digits.parse::<f64>().map(|n| sign * n).map_err(|_| Unfit)
}

impl Match {
    fn matches(self, value: &[u8], wanted: &str) -> bool {
        match self {
            // The search of `str` is linear whatever the texts are.
            Match::Contains => text(value).is_ok_and(|value| value.contains(wanted)),
            Match::StartsWith => value.starts_with(wanted.as_bytes()),
            Match::EndsWith => value.ends_with(wanted.as_bytes()),
        }
    }
}
