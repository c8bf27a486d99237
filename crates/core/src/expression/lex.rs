//! Text to tokens.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use super::{ExpressionError, LENGTH_MAX, Problem, Unit};

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64, Unit),
    Text(String),
    Word(String),
    /// An operator, a bracket, a comma.
    Sign(&'static str),
    End,
}

/// A token, where it stands (in characters, from 1) and how it was written.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) column: usize,
    pub(super) text: String,
}

/// Longer ones first.
const SIGNS: [&str; 26] = [
    "||", "&&", "==", "!=", "<=", ">=", "??", "<", ">", "!", "+", "-", "*", "/", "(", ")", "[", "]", "{",
    "}", ",", "?", ":", "#", ".", "%",
];

/// All tokens, the last one [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, ExpressionError> {
    if text.len() > LENGTH_MAX {
        return Err(ExpressionError::new(1, text, Problem::TooLong));
    }
    let mut lexer = Lexer { rest: text, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let ended = token.token == Token::End;
        tokens.push(token);
        if ended {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Placed, ExpressionError> {
        self.take(char::is_whitespace);
        let Some(first) = self.rest.chars().next() else {
            return Ok(Placed { token: Token::End, column: self.column, text: String::new() });
        };
        let (column, before) = (self.column, self.rest);
        let token = if first.is_ascii_digit() {
            self.number()?
        } else if first.is_alphabetic() || first == '_' {
            Token::Word(self.take(|c| c.is_alphanumeric() || c == '_').to_owned())
        } else if first == '"' || first == '\'' {
            self.quoted(first)?
        } else {
            self.sign()?
        };
        let length = before.len() - self.rest.len();
        Ok(Placed { token, column, text: before.get(..length).unwrap_or(before).to_owned() })
    }

    /// Takes characters while they fit.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        self.skip(length)
    }

    /// Takes so many bytes.
    fn skip(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn number(&mut self) -> Result<Token, ExpressionError> {
        let (column, before) = (self.column, self.rest);
        self.take(|c| c.is_ascii_digit());
        if self.rest.strip_prefix('.').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit())) {
            self.skip(1);
            self.take(|c| c.is_ascii_digit());
        }
        if let Some(exponent) = self.rest.strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.starts_with(|c: char| c.is_ascii_digit()) {
                self.skip(1 + exponent.len() - digits.len());
                self.take(|c| c.is_ascii_digit());
            }
        }
        let written = before.get(..before.len() - self.rest.len()).unwrap_or("");
        let value: f64 = written.parse().unwrap_or(f64::INFINITY);
        if value.is_infinite() {
            return Err(ExpressionError::new(column, written, Problem::NumberTooLarge));
        }
        let suffix_column = self.column;
        let suffix = if self.rest.starts_with('%') {
            self.skip(1)
        } else {
            self.take(|c| c.is_alphanumeric() || c == '_' || c == 'µ')
        };
        match suffix {
            "" => Ok(Token::Number(value, Unit::Number)),
            "µs" | "μs" => Ok(Token::Number(value, Unit::Microseconds)),
            _ => Unit::of_suffix(suffix)
                .map(|unit| Token::Number(value, unit))
                .ok_or_else(|| ExpressionError::new(suffix_column, suffix, Problem::UnknownUnit)),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, ExpressionError> {
        let (column, before) = (self.column, self.rest);
        let mut text = String::new();
        let mut characters = before.char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            if c == quote {
                self.skip(at + 1);
                return Ok(Token::Text(text));
            }
            match (c, c == '\\') {
                (_, true) => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, other)) => other,
                    None => break,
                }),
                (plain, false) => text.push(plain),
            }
        }
        Err(ExpressionError::new(column, before, Problem::OpenQuote))
    }

    fn sign(&mut self) -> Result<Token, ExpressionError> {
        for sign in SIGNS {
            if self.rest.starts_with(sign) {
                self.skip(sign.len());
                return Ok(Token::Sign(sign));
            }
        }
        let first: String = self.rest.chars().take(1).collect();
        let expected = "a number, a name, a text, an operator or a bracket";
        Err(ExpressionError::new(self.column, &first, Problem::Expected { expected }))
    }
}
