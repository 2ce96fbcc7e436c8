//! The language a peer says it is written in (Apache `LanguageCode`). Only shown to operators, except
//! that a C++ administrator gets its own body form for an offset reset.

/// A client's language. The discriminants are the wire's ordinals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Language {
    /// Java; also what every answer of a broker says.
    #[default]
    Java = 0,
    /// C++
    Cpp = 1,
    /// .NET
    Dotnet = 2,
    /// Python
    Python = 3,
    /// Delphi
    Delphi = 4,
    /// Erlang
    Erlang = 5,
    /// Ruby
    Ruby = 6,
    /// Anything that is not in this list.
    Other = 7,
    /// An HTTP gateway.
    Http = 8,
    /// Go
    Go = 9,
    /// PHP
    Php = 10,
    /// OpenMessaging
    Oms = 11,
    /// Rust
    Rust = 12,
    /// Node.js
    NodeJs = 13,
}

const ALL: [(Language, &str); 14] = [
    (Language::Java, "JAVA"),
    (Language::Cpp, "CPP"),
    (Language::Dotnet, "DOTNET"),
    (Language::Python, "PYTHON"),
    (Language::Delphi, "DELPHI"),
    (Language::Erlang, "ERLANG"),
    (Language::Ruby, "RUBY"),
    (Language::Other, "OTHER"),
    (Language::Http, "HTTP"),
    (Language::Go, "GO"),
    (Language::Php, "PHP"),
    (Language::Oms, "OMS"),
    (Language::Rust, "RUST"),
    (Language::NodeJs, "NODE_JS"),
];

impl Language {
    /// The language with this ordinal; one that nobody knows is [`Language::Other`].
    pub fn from_ordinal(ordinal: i64) -> Language {
        let known = usize::try_from(ordinal).ok().and_then(|n| ALL.get(n));
        known.map_or(Language::Other, |&(language, _)| language)
    }

    /// The language of this name; one that nobody knows is [`Language::Other`].
    pub fn from_name(name: &[u8]) -> Language {
        let known = ALL.iter().find(|(_, text)| text.as_bytes() == name);
        known.map_or(Language::Other, |&(language, _)| language)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        ALL.get(self as usize).map_or("OTHER", |&(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_and_names_agree() {
        for (n, (language, name)) in ALL.into_iter().enumerate() {
            assert_eq!(language as usize, n);
            assert_eq!(Language::from_name(name.as_bytes()), language);
            assert_eq!(Language::from_ordinal(n as i64).name(), name);
        }
        assert_eq!(Language::from_name(b"COBOL"), Language::Other);
        assert_eq!(Language::from_ordinal(-1), Language::Other);
    }
}
