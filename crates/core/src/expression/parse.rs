//! Tokens to a tree.

use alloc::{boxed::Box, vec::Vec};

use super::{
    DEPTH_MAX, ExpressionError, Problem,
    lex::{Placed, Token, tokens},
    tree::{CHOICE, COMPARISON, Function, Kind, Node, Operator, Over},
};

type Parsed = Result<Node, ExpressionError>;

pub(super) fn parse(text: &str) -> Parsed {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, in_list: 0 };
    let node = parser.choice()?;
    match parser.peek() {
        Some(Placed { token: Token::End, .. }) | None => Ok(node),
        Some(Placed { token: Token::Sign("%"), .. }) => {
            let instead = "a percentage is written without a blank, as 5%, and there is no remainder";
            Err(parser.error(Problem::NotInLanguage { instead }))
        }
        Some(_) => Err(parser.expected("an operator or the end")),
    }
}

struct Parser<'a> {
    tokens: &'a [Placed],
    at: usize,
    depth: usize,
    /// How many lists are being gone over: `#` stands only inside.
    in_list: usize,
}

impl<'a> Parser<'a> {
    /// `a ? b : c`, and everything that binds tighter.
    fn choice(&mut self) -> Parsed {
        self.deeper(|parser| {
            let condition = parser.binary(CHOICE + 1)?;
            if !parser.takes("?") {
                return Ok(condition);
            }
            let yes = parser.choice()?;
            parser.must("`:` and the other branch", ":")?;
            let no = parser.choice()?;
            let column = condition.column;
            parser.node(column, Kind::Choice(Box::new(condition), Box::new(yes), Box::new(no)))
        })
    }

    /// Operators of at least this level.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        let mut compared = false;
        loop {
            let negated = least <= COMPARISON && self.is_word("not") && self.word_follows("in");
            self.at += usize::from(negated);
            let Some(operator) = self.operator().filter(|o| o.level() >= least) else { return Ok(left) };
            let compares = operator.level() == COMPARISON;
            if compares && compared {
                let instead = "comparisons do not chain: write a < b && b < c";
                return Err(self.error(Problem::NotInLanguage { instead }));
            }
            compared |= compares;
            self.at += 1;
            let right = self.binary(operator.level() + 1)?;
            let column = left.column;
            left = self.node(column, Kind::Binary(operator, Box::new(left), Box::new(right)))?;
            if negated {
                left = self.node(column, Kind::Not(Box::new(left)))?;
            }
            // Behind `&&` and `||` a comparison may stand again.
            compared &= compares;
        }
    }

    fn operator(&self) -> Option<Operator> {
        let word = match &self.peek()?.token {
            Token::Sign(sign) => *sign,
            Token::Word(word) => match word.as_str() {
                "and" => "&&",
                "or" => "||",
                "in" => "in",
                _ => return None,
            },
            Token::Number(..) | Token::Text(_) | Token::End => return None,
        };
        Operator::ALL.into_iter().find(|o| o.sign() == word)
    }

    fn unary(&mut self) -> Parsed {
        let column = self.column();
        let not = self.is_sign("!") || (self.is_word("not") && !self.word_follows("in"));
        if not || self.is_sign("-") {
            self.at += 1;
            return self.deeper(|parser| {
                let inner = Box::new(parser.unary()?);
                parser.node(column, if not { Kind::Not(inner) } else { Kind::Minus(inner) })
            });
        }
        self.coalesced()
    }

    /// `a ?? b`, which binds tighter than a sign before it.
    fn coalesced(&mut self) -> Parsed {
        let mut left = self.postfix()?;
        while self.takes("??") {
            let signed = self.is_sign("-") || self.is_sign("!") || self.is_word("not");
            let right = if signed { self.unary()? } else { self.postfix()? };
            let column = left.column;
            left = self.node(column, Kind::Binary(Operator::Else, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    /// Indexing and members behind a value.
    fn postfix(&mut self) -> Parsed {
        let mut node = self.primary()?;
        loop {
            let column = node.column;
            if self.takes("[") {
                let index = self.choice()?;
                self.must("`]`", "]")?;
                node = self.node(column, Kind::Index(Box::new(node), Box::new(index)))?;
            } else if self.takes(".") {
                let Some(Placed { token: Token::Word(name), .. }) = self.peek() else {
                    return Err(self.expected("the name of a member"));
                };
                self.at += 1;
                node = self.node(column, Kind::Member(Box::new(node), name.clone()))?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let column = self.column();
        let Some(placed) = self.peek() else { return Err(self.expected("a value")) };
        match &placed.token {
            Token::Number(value, unit) => {
                self.at += 1;
                self.node(column, Kind::Number(*value, *unit))
            }
            Token::Text(text) => {
                self.at += 1;
                self.node(column, Kind::Text(text.clone()))
            }
            Token::Word(word) => self.word(column, word),
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.choice()?;
                self.must("`)`", ")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.at += 1;
                let elements = self.sequence("]")?;
                self.node(column, Kind::List(elements))
            }
            Token::Sign("#" | ".") => self.item(column),
            Token::Sign(_) | Token::End => Err(self.expected("a value")),
        }
    }

    /// `#`, or `.member` of it: then the dot is left to be read as a member.
    fn item(&mut self, column: usize) -> Parsed {
        if self.in_list == 0 {
            return Err(self.error(Problem::ItemOutside));
        }
        self.takes("#");
        self.node(column, Kind::Item)
    }

    fn word(&mut self, column: usize, word: &str) -> Parsed {
        match word {
            "true" | "false" => {
                self.at += 1;
                return self.node(column, Kind::Bool(word == "true"));
            }
            "and" | "or" | "not" | "in" => return Err(self.expected("a value")),
            "nil" | "null" => {
                let instead = "write isNil(value)";
                return Err(self.error(Problem::NotInLanguage { instead }));
            }
            _ => {}
        }
        if !self.sign_follows("(") {
            self.at += 1;
            return self.node(column, Kind::Name(word.into()));
        }
        if let Some(over) = Over::ALL.into_iter().find(|o| o.word() == word) {
            self.at += 2;
            return self.over(column, over);
        }
        let Some(function) = Function::ALL.into_iter().find(|f| f.word() == word) else {
            return Err(self.error(Problem::UnknownFunction));
        };
        self.at += 2;
        let arguments = self.sequence(")")?;
        if let Some(expected) = function.refuses(arguments.len()) {
            let problem = Problem::Arguments { function: function.word(), expected };
            return Err(ExpressionError::new(column, word, problem));
        }
        self.node(column, Kind::Call(function, arguments))
    }

    /// `all(list, condition)`, the condition in braces or not.
    fn over(&mut self, column: usize, over: Over) -> Parsed {
        let list = self.choice()?;
        self.must("`,` and what is asked of each element `#`", ",")?;
        let braces = self.takes("{");
        self.in_list += 1;
        let each = self.choice();
        self.in_list -= 1;
        let each = each?;
        if braces {
            self.must("`}`", "}")?;
        }
        self.must("`)`", ")")?;
        self.node(column, Kind::Over(over, Box::new(list), Box::new(each)))
    }

    /// Values between commas up to a closing bracket.
    fn sequence(&mut self, close: &'static str) -> Result<Vec<Node>, ExpressionError> {
        let mut nodes = Vec::new();
        if self.takes(close) {
            return Ok(nodes);
        }
        loop {
            nodes.push(self.choice()?);
            if self.takes(close) {
                return Ok(nodes);
            }
            self.must("`,` or a closing bracket", ",")?;
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        let read = if self.depth > DEPTH_MAX { Err(self.error(Problem::TooDeep)) } else { read(self) };
        self.depth -= 1;
        read
    }

    fn node(&self, column: usize, kind: Kind) -> Parsed {
        Node::new(column, kind).ok_or_else(|| self.error(Problem::TooDeep))
    }

    fn peek(&self) -> Option<&'a Placed> {
        self.tokens.get(self.at)
    }

    fn column(&self) -> usize {
        self.peek().map_or(1, |p| p.column)
    }

    fn is_sign(&self, sign: &str) -> bool {
        self.peek().is_some_and(|p| matches!(p.token, Token::Sign(s) if s == sign))
    }

    fn is_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|p| matches!(&p.token, Token::Word(w) if w == word))
    }

    fn word_follows(&self, word: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|p| matches!(&p.token, Token::Word(w) if w == word))
    }

    fn sign_follows(&self, sign: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|p| matches!(p.token, Token::Sign(s) if s == sign))
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    fn must(&mut self, expected: &'static str, sign: &str) -> Result<(), ExpressionError> {
        if self.takes(sign) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: &'static str) -> ExpressionError {
        self.error(Problem::Expected { expected })
    }

    fn error(&self, problem: Problem) -> ExpressionError {
        let text = self.peek().map_or("", |p| p.text.as_str());
        ExpressionError::new(self.column(), text, problem)
    }
}
