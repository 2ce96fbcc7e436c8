//! A reader for fastjson's dialect: bare keys, objects as keys, references.

use serde_json::{Map, Value};

use super::BodyError;
use crate::cursor::Cursor;

/// Deeper than any body of the protocol.
const DEPTH_MAX: usize = 64;
/// Values that references may add to a body.
const COPIES_MAX: usize = 200_000;

/// Reads a body into plain JSON: keys that are objects become their JSON text, references are
/// replaced by what they refer to (a reference into its own parents by null).
pub(super) fn parse(body: &[u8]) -> Result<Value, BodyError> {
    let mut reader = Reader {
        cursor: Cursor::new(body),
    };
    let value = reader.value(0)?;
    if !reader.cursor.ended() {
        return Err(reader.broken());
    }
    if memchr::memmem::find(body, b"$ref").is_none() {
        return Ok(value);
    }
    let mut copies = COPIES_MAX;
    resolve(&value, &value, 0, &mut copies)
}

struct Reader<'b> {
    cursor: Cursor<'b>,
}

impl Reader<'_> {
    fn broken(&self) -> BodyError {
        BodyError::Syntax(self.cursor.at)
    }

    fn expect(&mut self, byte: u8) -> Result<(), BodyError> {
        match self.cursor.take(byte) {
            true => Ok(()),
            false => Err(self.broken()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, BodyError> {
        if depth > DEPTH_MAX {
            return Err(BodyError::TooLarge);
        }
        self.cursor.blanks();
        match self.cursor.byte() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(_) => self.scalar(),
            None => Err(self.broken()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, BodyError> {
        let mut members = Map::new();
        self.expect(b'{')?;
        while !self.cursor.take(b'}') {
            let key = self.key(depth)?;
            self.expect(b':')?;
            members.insert(key, self.value(depth + 1)?);
            if !self.cursor.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        Ok(Value::Object(members))
    }

    fn key(&mut self, depth: usize) -> Result<String, BodyError> {
        self.cursor.blanks();
        match self.cursor.byte() {
            Some(b'"') => self.string(),
            Some(b'{') => Ok(self.value(depth + 1)?.to_string()),
            _ => Ok(self.bare()?.to_owned()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, BodyError> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        while !self.cursor.take(b']') {
            items.push(self.value(depth + 1)?);
            if !self.cursor.take(b',') {
                self.expect(b']')?;
                break;
            }
        }
        Ok(Value::Array(items))
    }

    /// A number, a truth value, null, or a name without quotes.
    fn bare(&mut self) -> Result<&str, BodyError> {
        let start = self.cursor.at;
        while matches!(self.cursor.byte(), Some(b) if b.is_ascii_alphanumeric() || b"+-._$".contains(&b))
        {
            self.cursor.at += 1;
        }
        let text = self.cursor.since(start);
        match std::str::from_utf8(text) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => Err(BodyError::Syntax(start)),
        }
    }

    fn scalar(&mut self) -> Result<Value, BodyError> {
        let start = self.cursor.at;
        let text = self.bare()?;
        serde_json::from_str(text).map_err(|_| BodyError::Syntax(start))
    }

    /// A quoted string. Its end is looked for here; what it means is serde_json's affair.
    fn string(&mut self) -> Result<String, BodyError> {
        let start = self.cursor.at;
        self.cursor.at += 1;
        loop {
            match self.cursor.byte().ok_or(self.broken())? {
                b'"' => break,
                b'\\' => self.cursor.at += 2,
                _ => self.cursor.at += 1,
            }
        }
        self.cursor.at += 1;
        let text = self.cursor.since(start);
        serde_json::from_slice(text).map_err(|_| BodyError::Syntax(start))
    }
}

/// Copies `value`, following references into `root`.
fn resolve(
    value: &Value,
    root: &Value,
    depth: usize,
    copies: &mut usize,
) -> Result<Value, BodyError> {
    *copies = copies.checked_sub(1).ok_or(BodyError::TooLarge)?;
    if depth > DEPTH_MAX {
        // A reference to one of its own parents.
        return Ok(Value::Null);
    }
    match value {
        Value::Object(members) => {
            if let Some(Value::String(path)) = members.get("$ref") {
                return match follow(root, path) {
                    Some(target) => resolve(target, root, depth + 1, copies),
                    None => Ok(Value::Null),
                };
            }
            let mut copy = Map::new();
            for (key, member) in members {
                copy.insert(key.clone(), resolve(member, root, depth + 1, copies)?);
            }
            Ok(Value::Object(copy))
        }
        Value::Array(items) => {
            let copy = items.iter();
            let copy = copy.map(|item| resolve(item, root, depth + 1, copies));
            Ok(Value::Array(copy.collect::<Result<_, _>>()?))
        }
        other => Ok(other.clone()),
    }
}

/// `$.name[3].name`. `..` and `@` lead to a value that contains the reference: nothing to copy.
fn follow<'v>(root: &'v Value, path: &str) -> Option<&'v Value> {
    let mut rest = path.strip_prefix('$')?;
    let mut value = root;
    while !rest.is_empty() {
        if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            value = match index.parse::<usize>() {
                Ok(index) => value.get(index)?,
                Err(_) => value.get(index.trim_matches(['"', '\'']))?,
            };
            rest = after;
        } else {
            let name = rest.strip_prefix('.')?;
            let (name, after) = name_in_path(name);
            value = value.get(&name)?;
            rest = after;
        }
    }
    Some(value)
}

/// The next name of a path; fastjson puts a backslash before what is no letter or digit.
fn name_in_path(path: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = path.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (name, &path[at..]),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            _ => name.push(c),
        }
    }
    (name, "")
}
