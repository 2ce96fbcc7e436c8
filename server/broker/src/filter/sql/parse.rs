//! From text to tree, by recursive descent over the grammar in [`super`]. What an operand may be is
//! checked here as Apache checks it; nothing is left to find out with the first message except values
//! that do not fit.

use model::message::NAME_END;

use super::eval::{Match, Node, Order, Set};
use super::lex::{Keyword, Kind, Lexer, Token};
use super::{Compat, Refusal};
use crate::limits;

/// A text that was read.
pub(super) struct Parsed {
    pub root: Node,
    pub names: Vec<Box<[u8]>>,
    pub nodes: usize,
}

/// Reads a text.
pub(super) fn parse(text: &str, compat: Compat) -> Result<Parsed, Refusal> {
    if text.len() > limits::EXPRESSION {
        let what = format!(
            "an expression has up to {} bytes, not {}",
            limits::EXPRESSION,
            text.len()
        );
        return Err(Refusal::new(text, 0, what, None));
    }
    let mut lexer = Lexer::new(text, compat);
    let token = lexer.next()?;
    let mut parser = Parser {
        lexer,
        token,
        before: 0,
        names: Vec::new(),
        nodes: 0,
        nested: 0,
    };
    let part = parser.or()?;
    if compat == Compat::Strict && parser.token.kind != Kind::End {
        return Err(parser.unexpected("AND, OR or the end"));
    }
    let root = parser.boolean(part)?.node;
    Ok(Parsed {
        root,
        names: parser.names,
        nodes: parser.nodes,
    })
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The next one, not consumed.
    token: Token<'t>,
    /// Where the one before it ends.
    before: usize,
    names: Vec<Box<[u8]>>,
    nodes: usize,
    nested: usize,
}

/// A subtree, how deep it is and where it begins.
struct Part {
    node: Node,
    depth: usize,
    at: usize,
}

impl<'t> Parser<'t> {
    fn or(&mut self) -> Result<Part, Refusal> {
        self.list(Keyword::Or, Parser::and, Node::Or)
    }

    fn and(&mut self) -> Result<Part, Refusal> {
        self.list(Keyword::And, Parser::equality, Node::And)
    }

    /// `item ( word item )*`
    fn list(
        &mut self,
        word: Keyword,
        item: fn(&mut Parser<'t>) -> Result<Part, Refusal>,
        node: fn(Vec<Node>) -> Node,
    ) -> Result<Part, Refusal> {
        let first = item(self)?;
        if self.token.kind != Kind::Keyword(word) {
            return Ok(first);
        }
        let first = self.boolean(first)?;
        let (at, mut depth) = (first.at, first.depth);
        let mut all = vec![first.node];
        while self.take(Kind::Keyword(word))? {
            let next = item(self)?;
            let next = self.boolean(next)?;
            depth = depth.max(next.depth);
            all.push(next.node);
        }
        self.part(node(all), depth, at)
    }

    fn equality(&mut self) -> Result<Part, Refusal> {
        let mut left = self.comparison()?;
        loop {
            let at = left.at;
            left = match self.token.kind {
                Kind::Sign(sign @ ("=" | "<>")) => {
                    self.advance()?;
                    let right = self.comparison()?;
                    self.check_equal(&left, &right)?;
                    let depth = left.depth.max(right.depth);
                    let equal = Node::Equal(Box::new((left.node, right.node)));
                    self.negated(sign == "<>", equal, depth, at)?
                }
                Kind::Keyword(Keyword::Is) => {
                    self.advance()?;
                    let not = self.take(Kind::Keyword(Keyword::Not))?;
                    if !self.take(Kind::Keyword(Keyword::Null))? {
                        return Err(self.unexpected("NULL or NOT NULL"));
                    }
                    let is_null = Node::IsNull(Box::new(left.node));
                    self.negated(not, is_null, left.depth, at)?
                }
                _ => return Ok(left),
            };
        }
    }

    fn comparison(&mut self) -> Result<Part, Refusal> {
        let mut left = self.unary()?;
        loop {
            left = match self.token.kind {
                Kind::Sign(sign @ ("<" | "<=" | ">" | ">=")) => {
                    self.advance()?;
                    let right = self.unary()?;
                    let order = match sign {
                        "<" => Order::Less,
                        "<=" => Order::LessOrEqual,
                        ">" => Order::Greater,
                        _ => Order::GreaterOrEqual,
                    };
                    self.order(order, &left, &right)?
                }
                Kind::Keyword(Keyword::Not) => {
                    self.advance()?;
                    match self.token.kind {
                        Kind::Keyword(word) => self.named(word, true, left)?,
                        _ => return Err(self.unexpected(BEHIND_NOT)),
                    }
                }
                Kind::Keyword(
                    word @ (Keyword::Contains
                    | Keyword::StartsWith
                    | Keyword::EndsWith
                    | Keyword::Between
                    | Keyword::In),
                ) => self.named(word, false, left)?,
                _ => return Ok(left),
            };
        }
    }

    /// A comparison whose name is a word, which is the next token.
    fn named(&mut self, word: Keyword, not: bool, left: Part) -> Result<Part, Refusal> {
        let how = match word {
            Keyword::Contains => Match::Contains,
            Keyword::StartsWith => Match::StartsWith,
            Keyword::EndsWith => Match::EndsWith,
            Keyword::Between => {
                self.advance()?;
                return self.between(not, &left);
            }
            Keyword::In => {
                self.advance()?;
                return self.within(not, &left);
            }
            _ => return Err(self.unexpected(BEHIND_NOT)),
        };
        self.advance()?;
        let text = self.text()?;
        let node = Node::Match {
            how,
            not,
            left: Box::new(left.node),
            text,
        };
        self.part(node, left.depth, left.at)
    }

    fn between(&mut self, not: bool, value: &Part) -> Result<Part, Refusal> {
        let low = self.unary()?;
        if !self.take(Kind::Keyword(Keyword::And))? {
            return Err(self.unexpected("AND"));
        }
        let high = self.unary()?;
        let nothing = low.node.constant_order(&high.node) == Some(std::cmp::Ordering::Greater);
        if !not && nothing {
            let what = "the lower bound of BETWEEN is above the upper one";
            return Err(self.refuse(low.at, what, Some("the smaller number comes first")));
        }
        let (first, second, join): (_, _, fn(Vec<Node>) -> Node) = match not {
            false => (Order::GreaterOrEqual, Order::LessOrEqual, Node::And),
            true => (Order::Less, Order::Greater, Node::Or),
        };
        let first = self.order(first, value, &low)?;
        let second = self.order(second, value, &high)?;
        let depth = first.depth.max(second.depth);
        self.part(join(vec![first.node, second.node]), depth, value.at)
    }

    fn within(&mut self, not: bool, left: &Part) -> Result<Part, Refusal> {
        if !self.take(Kind::Sign("("))? {
            return Err(self.unexpected("("));
        }
        let mut texts = vec![self.text()?.into_bytes()];
        while self.take(Kind::Sign(","))? {
            texts.push(self.text()?.into_bytes());
        }
        if !self.take(Kind::Sign(")"))? {
            return Err(self.unexpected(", or )"));
        }
        let Node::Property(slot) = left.node else {
            let what = "what is left of IN must be a property";
            return Err(self.refuse(left.at, what, None));
        };
        let set = Set::new(texts);
        self.part(Node::In { slot, not, set }, left.depth, left.at)
    }

    fn unary(&mut self) -> Result<Part, Refusal> {
        let at = self.token.at;
        let sign = self.token.kind;
        if !matches!(
            sign,
            Kind::Sign("+" | "-") | Kind::Keyword(Keyword::Not) | Kind::Sign("(")
        ) {
            return self.primary();
        }
        // Only these nest, so only these are counted; the stack is finite.
        self.nested += 1;
        if self.nested > limits::EXPRESSION_DEPTH {
            return Err(self.too_deep(at));
        }
        self.advance()?;
        let part = match sign {
            Kind::Sign("+") => self.unary()?,
            Kind::Sign("-") => {
                let part = self.unary()?;
                self.part(Node::Negate(Box::new(part.node)), part.depth, at)?
            }
            Kind::Sign(_) => {
                let part = self.or()?;
                if !self.take(Kind::Sign(")"))? {
                    return Err(self.unexpected(")"));
                }
                part
            }
            _ => {
                let part = self.unary()?;
                let part = self.boolean(part)?;
                self.part(Node::Not(Box::new(part.node)), part.depth, at)?
            }
        };
        self.nested -= 1;
        Ok(part)
    }

    fn primary(&mut self) -> Result<Part, Refusal> {
        let Token { kind, at, .. } = self.token;
        let node = match kind {
            Kind::Text(raw) => Node::Text(unquoted(raw)),
            Kind::Integer(digits) => self.integer(digits)?,
            Kind::Float(digits) => self.float(digits)?,
            Kind::Keyword(Keyword::True) => Node::Truth(Some(true)),
            Kind::Keyword(Keyword::False) => Node::Truth(Some(false)),
            Kind::Keyword(Keyword::Null) => Node::Truth(None),
            Kind::Name(name) => Node::Property(self.slot(name)?),
            _ => return Err(self.unexpected("a property, a text, a number or (")),
        };
        self.advance()?;
        self.part(node, 0, at)
    }

    fn integer(&self, digits: &str) -> Result<Node, Refusal> {
        let Ok(number) = digits.trim_end_matches(['l', 'L']).parse::<i64>() else {
            let what = format!("{} does not fit into 64 bits", short(digits));
            return Err(self.refuse(self.token.at, what, None));
        };
        Ok(match i32::try_from(number) {
            Ok(number) => Node::Int(number),
            Err(_) => Node::Long(number),
        })
    }

    fn float(&self, digits: &str) -> Result<Node, Refusal> {
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Ok(Node::Double(number)),
            Ok(0.0) => {
                let what = format!("RocketMQ takes no floating-point zero: {}", short(digits));
                let hint = "write 0, or 1E-300 to compare fractions with almost nothing";
                Err(self.refuse(self.token.at, what, Some(hint)))
            }
            _ => {
                let what = format!("{} is too large", short(digits));
                Err(self.refuse(self.token.at, what, None))
            }
        }
    }

    fn text(&mut self) -> Result<String, Refusal> {
        let Kind::Text(raw) = self.token.kind else {
            let numeric = matches!(self.token.kind, Kind::Integer(_) | Kind::Float(_));
            let hint = numeric.then_some("put the number between single quotes");
            return Err(self.unexpected_with("a text", hint));
        };
        self.advance()?;
        Ok(unquoted(raw))
    }

    fn slot(&mut self, name: &str) -> Result<usize, Refusal> {
        let is = |known: &[u8]| known.split_last().map(|(_, known)| known) == Some(name.as_bytes());
        if let Some(slot) = self.names.iter().position(|known| is(known)) {
            return Ok(slot);
        }
        if self.names.len() == limits::EXPRESSION_PROPERTIES {
            let what = format!(
                "an expression reads up to {} properties",
                limits::EXPRESSION_PROPERTIES
            );
            return Err(self.refuse(self.token.at, what, None));
        }
        let mut name = name.as_bytes().to_vec();
        name.push(NAME_END);
        self.names.push(name.into_boxed_slice());
        Ok(self.names.len() - 1)
    }

    fn order(&mut self, order: Order, left: &Part, right: &Part) -> Result<Part, Refusal> {
        for operand in [left, right] {
            let hint = match operand.node {
                Node::Text(_) => "only numbers have an order: leave the quotes out",
                Node::Truth(None) => "use IS NULL",
                ref node if node.is_boolean() => "truth values have no order",
                _ => continue,
            };
            let what = "this cannot be compared by size";
            return Err(self.refuse(operand.at, what, Some(hint)));
        }
        let depth = left.depth.max(right.depth);
        let both = Box::new((left.node.clone(), right.node.clone()));
        self.part(Node::Order(order, both), depth, left.at)
    }

    fn check_equal(&self, left: &Part, right: &Part) -> Result<(), Refusal> {
        for operand in [left, right] {
            if operand.node == Node::Truth(None) {
                let what = "nothing is equal to NULL";
                return Err(self.refuse(operand.at, what, Some("use IS NULL or IS NOT NULL")));
            }
        }
        let constant = matches!(
            right.node,
            Node::Text(_) | Node::Int(_) | Node::Long(_) | Node::Double(_)
        );
        if matches!(left.node, Node::Truth(_)) && constant {
            let what = "a truth value is compared with something else";
            return Err(self.refuse(left.at, what, None));
        }
        Ok(())
    }

    /// Makes of a part what may stand where a truth value must.
    fn boolean(&mut self, part: Part) -> Result<Part, Refusal> {
        match part.node {
            Node::Property(slot) => self.part(Node::Cast(slot), part.depth, part.at),
            ref node if node.is_boolean() => Ok(part),
            _ => {
                let what = "this is neither true nor false";
                Err(self.refuse(part.at, what, Some("compare it with something")))
            }
        }
    }

    fn negated(&mut self, not: bool, node: Node, depth: usize, at: usize) -> Result<Part, Refusal> {
        let part = self.part(node, depth, at)?;
        match not {
            true => self.part(Node::Not(Box::new(part.node)), part.depth, at),
            false => Ok(part),
        }
    }

    /// A node over what is `below` deep.
    fn part(&mut self, node: Node, below: usize, at: usize) -> Result<Part, Refusal> {
        let depth = below + 1;
        if depth > limits::EXPRESSION_DEPTH {
            return Err(self.too_deep(at));
        }
        self.nodes += 1;
        if self.nodes > limits::EXPRESSION_NODES {
            let what = format!(
                "an expression has up to {} terms and operators",
                limits::EXPRESSION_NODES
            );
            return Err(self.refuse(at, what, Some("long lists go into one IN")));
        }
        Ok(Part { node, depth, at })
    }

    fn too_deep(&self, at: usize) -> Refusal {
        let what = format!(
            "terms are nested more than {} deep",
            limits::EXPRESSION_DEPTH
        );
        self.refuse(at, what, None)
    }

    fn advance(&mut self) -> Result<(), Refusal> {
        self.before = self.token.end;
        self.token = self.lexer.next()?;
        Ok(())
    }

    /// Consumes the next token if it is this one.
    fn take(&mut self, kind: Kind<'_>) -> Result<bool, Refusal> {
        let is = self.token.kind == kind;
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn refuse(&self, at: usize, what: impl Into<String>, hint: Option<&'static str>) -> Refusal {
        Refusal::new(self.lexer.text(), at, what, hint)
    }

    fn unexpected(&self, expected: &str) -> Refusal {
        self.unexpected_with(expected, None)
    }

    /// The next token is not what it should be.
    fn unexpected_with(&self, expected: &str, hint: Option<&'static str>) -> Refusal {
        let Token { kind, at, end } = self.token;
        let found = match kind {
            Kind::End => "the end".to_owned(),
            _ => short(&self.lexer.text()[at..end]),
        };
        let hint = hint.or_else(|| self.hint(kind, at, end));
        self.refuse(
            at,
            format!("found {found} where {expected} should be"),
            hint,
        )
    }

    /// What somebody probably meant who wrote this token at a place where it makes no sense.
    fn hint(&self, kind: Kind<'_>, at: usize, end: usize) -> Option<&'static str> {
        let joined = at > 0 && at == self.before;
        match kind {
            Kind::Name(name) => FOREIGN
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(name))
                .map(|&(_, hint)| hint),
            Kind::Sign("-") if joined => {
                Some("a property's name has only letters, digits, _ and $; there is no arithmetic")
            }
            Kind::Sign("+" | "-") => Some("there is no arithmetic"),
            Kind::Sign("=") if joined => Some("equal is a single ="),
            Kind::Sign(")") => Some("no parenthesis is open"),
            Kind::Integer(_) if joined => Some("a number has no leading zeros"),
            Kind::Keyword(Keyword::True) => Some("write = TRUE"),
            Kind::Keyword(Keyword::False) => Some("write = FALSE"),
            Kind::Keyword(_) if self.lexer.text()[end..].trim_start().starts_with('=') => {
                Some("this word is part of the language and cannot be a property's name")
            }
            _ => None,
        }
    }
}

const BEHIND_NOT: &str = "CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN";

/// Words of other dialects.
const FOREIGN: [(&str, &str); 7] = [
    (
        "LIKE",
        "LIKE is not supported, use STARTSWITH, ENDSWITH or CONTAINS",
    ),
    ("REGEXP", "use STARTSWITH, ENDSWITH or CONTAINS"),
    ("RLIKE", "use STARTSWITH, ENDSWITH or CONTAINS"),
    ("hasPrefix", "use STARTSWITH"),
    ("hasSuffix", "use ENDSWITH"),
    ("ESCAPE", "LIKE is not supported"),
    ("XOR", "use AND, OR and NOT"),
];

fn unquoted(raw: &str) -> String {
    raw.replace("''", "'")
}

/// As much of a text as a remark should repeat.
fn short(text: &str) -> String {
    match text.char_indices().nth(32) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
