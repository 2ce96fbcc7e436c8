//! Words, texts, numbers and signs of an expression, one at a time: behind the point where Apache's
//! parser stops, a lenient one must not find fault with characters either.

use super::{Compat, Refusal};

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    Keyword(Keyword),
    /// A property's name.
    Name(&'t str),
    /// What stands between the quotes, doubled quotes and all.
    Text(&'t str),
    /// Digits, perhaps with an `L`.
    Integer(&'t str),
    Float(&'t str),
    /// `=` `<>` `<` `<=` `>` `>=` `(` `)` `,` `+` `-`
    Sign(&'static str),
    End,
}

/// Words that are not names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const KEYWORDS: [(&str, Keyword); 12] = [
    ("NOT", Keyword::Not),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("BETWEEN", Keyword::Between),
    ("IN", Keyword::In),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
    ("NULL", Keyword::Null),
    ("IS", Keyword::Is),
    ("CONTAINS", Keyword::Contains),
    ("STARTSWITH", Keyword::StartsWith),
    ("ENDSWITH", Keyword::EndsWith),
];

/// The longest first.
const SIGNS: [&str; 11] = ["<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-"];

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub kind: Kind<'t>,
    pub at: usize,
    pub end: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    compat: Compat,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, compat: Compat) -> Lexer<'t> {
        Lexer {
            text,
            at: 0,
            compat,
        }
    }

    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The next token; at the end, `End` again and again.
    pub fn next(&mut self) -> Result<Token<'t>, Refusal> {
        self.skip_blanks();
        let at = self.at;
        let rest = &self.text[at..];
        let (kind, len) = match rest.bytes().next() {
            None => (Kind::End, 0),
            Some(b'\'') => self.quoted(rest)?,
            Some(b'0'..=b'9' | b'.') => match number(rest) {
                Some(found) => found,
                None => return Err(self.unreadable(rest)),
            },
            Some(b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$') => word(rest),
            Some(_) => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => (Kind::Sign(sign), sign.len()),
                None => return Err(self.unreadable(rest)),
            },
        };
        self.at = at + len;
        Ok(Token {
            kind,
            at,
            end: self.at,
        })
    }

    /// Blanks and comments. For Apache a line's comment needs the line's end.
    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0C);
            let blanks = rest.bytes().take_while(blank).count();
            let rest = &rest[blanks..];
            let comment = if rest.starts_with("--") {
                let end = rest.find(['\n', '\r']).map(|end| end + 1);
                end.or((self.compat == Compat::Strict).then_some(rest.len()))
            } else if let Some(comment) = rest.strip_prefix("/*") {
                comment.find("*/").map(|end| end + 4)
            } else {
                None
            };
            self.at += blanks + comment.unwrap_or(0);
            if comment.is_none() {
                return;
            }
        }
    }

    fn quoted(&self, rest: &'t str) -> Result<(Kind<'t>, usize), Refusal> {
        let mut from = 1;
        while let Some(quote) = rest[from..].find('\'') {
            let behind = from + quote + 1;
            if rest[behind..].starts_with('\'') {
                from = behind + 1;
                continue;
            }
            return Ok((Kind::Text(&rest[1..behind - 1]), behind));
        }
        let hint = "a quote inside a text is doubled";
        Err(Refusal::new(
            self.text,
            self.at,
            "the text has no closing quote",
            Some(hint),
        ))
    }

    fn unreadable(&self, rest: &str) -> Refusal {
        let first = rest.chars().next().unwrap_or_default();
        let hint = match first {
            '!' => "not equal is <>",
            '&' => "write AND",
            '|' => "write OR",
            '"' => "texts stand between single quotes, names between none",
            '`' | '[' | ']' => "names stand between no quotes",
            '.' | '#' | '@' | ':' => "a property's name has only letters, digits, _ and $",
            '*' if rest.len() == self.text.len() => {
                "* is a tag expression; its type is TAG, not SQL92"
            }
            '*' | '/' | '%' | '^' => "there is no arithmetic",
            _ if !first.is_ascii() => {
                "outside of texts there are only ASCII letters, digits, _ and $"
            }
            _ => "this character has no meaning here",
        };
        let what = format!("unexpected {first:?}");
        Refusal::new(self.text, self.at, what, Some(hint))
    }
}

fn word(rest: &str) -> (Kind<'_>, usize) {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let len = rest.bytes().take_while(inside).count();
    let word = &rest[..len];
    let keyword = KEYWORDS
        .iter()
        .find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    let kind = match keyword {
        Some(&(_, keyword)) => Kind::Keyword(keyword),
        None => Kind::Name(word),
    };
    (kind, len)
}

/// `0`, `17`, `17L`, `1.`, `1.5`, `.5`, `1E-5`; the longest that can be read. `None` for a lone dot.
fn number(rest: &str) -> Option<(Kind<'_>, usize)> {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let byte = |at: usize| rest.as_bytes().get(at).copied();
    let whole = digits(0);
    let mut end = whole;
    if byte(end) == Some(b'.') {
        let fraction = digits(end + 1);
        if whole == 0 && fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    }
    if matches!(byte(end), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(byte(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + signed);
        if exponent > 0 {
            end += 1 + signed + exponent;
        }
    }
    if end > whole {
        return Some((Kind::Float(&rest[..end]), end));
    }
    // No leading zeros: what follows a 0 is another token, as with Apache.
    if byte(0) == Some(b'0') {
        return Some((Kind::Integer(&rest[..1]), 1));
    }
    end += usize::from(matches!(byte(end), Some(b'l' | b'L')));
    Some((Kind::Integer(&rest[..end]), end))
}
