//! Names, kinds and units, before anything is measured.

use alloc::{boxed::Box, format, string::String, string::ToString};

use super::{
    Declared, Dimension, ExpressionError, Problem, Scope, Unit, quoted_list,
    tree::{Function, Kind, Node, Operator, Over},
};

/// What a node yields.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    Number(Dimension),
    /// The literal 0: the same in every unit.
    Zero,
    Bool,
    Text,
    /// Of exactly one: also that one.
    List(Box<Self>),
    /// Looked at when it is evaluated.
    Json,
}

type Checked = Result<Type, ExpressionError>;

pub(super) fn check(root: &Node, scope: &Scope) -> Result<(), ExpressionError> {
    let checker = Checker { scope, item: None };
    let found = checker.of(root)?;
    match found {
        Type::Bool | Type::Json => Ok(()),
        Type::Number(_) | Type::Zero | Type::Text | Type::List(_) => {
            Err(wanted(root, "a condition that is true or false, such as result < 5%", &found))
        }
    }
}

struct Checker<'a> {
    scope: &'a Scope,
    /// What `#` is.
    item: Option<Type>,
}

impl Checker<'_> {
    fn of(&self, node: &Node) -> Checked {
        match &node.kind {
            Kind::Number(value, Unit::Number) if *value == 0.0 => Ok(Type::Zero),
            Kind::Number(_, unit) => Ok(Type::Number(unit.dimension())),
            Kind::Bool(_) => Ok(Type::Bool),
            Kind::Text(_) => Ok(Type::Text),
            Kind::List(elements) => self.list(node, elements),
            Kind::Name(name) => self.name(node, name),
            Kind::Item => self.item.clone().ok_or_else(|| error(node, Problem::ItemOutside)),
            Kind::Not(inner) => self.bool(inner).map(|()| Type::Bool),
            Kind::Minus(inner) => self.number(inner),
            Kind::Binary(operator, left, right) => self.binary(node, *operator, left, right),
            Kind::Index(list, index) => self.index(list, index),
            Kind::Member(record, _) => match self.of(record)? {
                Type::Json => Ok(Type::Json),
                other @ (Type::Number(_) | Type::Zero | Type::Bool | Type::Text | Type::List(_)) => {
                    Err(wanted(record, "a JSON object", &other))
                }
            },
            Kind::Call(function, arguments) => self.call(node, *function, arguments),
            Kind::Over(over, list, each) => self.over(*over, list, each),
            Kind::Choice(condition, yes, no) => {
                self.bool(condition)?;
                same(node, &self.of(yes)?, &self.of(no)?)
            }
        }
    }

    fn name(&self, node: &Node, name: &str) -> Checked {
        match self.scope.get(name) {
            Some(Declared::Number(unit)) => Ok(Type::Number(unit.dimension())),
            Some(Declared::Numbers(unit)) => Ok(Type::List(Box::new(Type::Number(unit.dimension())))),
            Some(Declared::Text) => Ok(Type::Text),
            Some(Declared::Bool) => Ok(Type::Bool),
            Some(Declared::Json) => Ok(Type::Json),
            None => Err(error(node, Problem::UnknownName { known: quoted_list(self.scope.names()) })),
        }
    }

    fn list(&self, node: &Node, elements: &[Node]) -> Checked {
        let mut common = Type::Zero;
        for (at, element) in elements.iter().enumerate() {
            let found = self.of(element)?;
            common = if at == 0 { found } else { same(node, &common, &found)? };
        }
        Ok(Type::List(Box::new(common)))
    }

    fn binary(&self, node: &Node, operator: Operator, left: &Node, right: &Node) -> Checked {
        match operator {
            Operator::Or | Operator::And => {
                self.bool(left)?;
                self.bool(right)?;
                Ok(Type::Bool)
            }
            Operator::Equal | Operator::Unequal => {
                same(node, &one(self.of(left)?), &one(self.of(right)?))?;
                Ok(Type::Bool)
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                same(node, &self.number(left)?, &self.number(right)?)?;
                Ok(Type::Bool)
            }
            Operator::In => self.contained(node, left, right),
            Operator::Plus | Operator::Minus => same(node, &self.number(left)?, &self.number(right)?),
            Operator::Times => self.scaled(node, left, right, Dimension::times),
            Operator::Per => self.scaled(node, left, right, Dimension::per),
            Operator::Else => same(node, &self.of(left)?, &self.of(right)?),
        }
    }

    fn contained(&self, node: &Node, left: &Node, right: &Node) -> Checked {
        match self.of(right)? {
            Type::List(element) => same(node, &one(self.of(left)?), &element)?,
            Type::Json => Type::Json,
            other @ (Type::Number(_) | Type::Zero | Type::Bool | Type::Text) => {
                return Err(wanted(right, "a list, as [200, 204]", &other));
            }
        };
        Ok(Type::Bool)
    }

    fn scaled(
        &self,
        node: &Node,
        left: &Node,
        right: &Node,
        combine: impl Fn(Dimension, Dimension) -> Option<Dimension>,
    ) -> Checked {
        let plain = |found| if found == Type::Zero { Type::Number(Dimension::Plain) } else { found };
        match (plain(self.number(left)?), plain(self.number(right)?)) {
            (Type::Number(a), Type::Number(b)) => {
                combine(a, b).map(Type::Number).ok_or_else(|| error(node, Problem::Meaningless))
            }
            _ => Ok(Type::Json),
        }
    }

    fn index(&self, list: &Node, index: &Node) -> Checked {
        let found = self.of(list)?;
        let at = self.of(index)?;
        match (&found, &at) {
            (Type::Json, Type::Text) | (_, Type::Zero | Type::Number(Dimension::Plain) | Type::Json) => {}
            _ => return Err(wanted(index, "an index, as 0", &at)),
        }
        match found {
            Type::List(element) => Ok(*element),
            Type::Number(_) | Type::Json => Ok(found),
            Type::Zero | Type::Bool | Type::Text => Err(wanted(list, "a list", &found)),
        }
    }

    fn call(&self, node: &Node, function: Function, arguments: &[Node]) -> Checked {
        let [first, others @ ..] = arguments else {
            return Err(error(
                node,
                Problem::Arguments { function: function.word(), expected: "an argument" },
            ));
        };
        match function {
            Function::Len => match self.of(first)? {
                bad @ (Type::Bool | Type::Zero) => Err(wanted(first, "a list", &bad)),
                Type::Number(_) | Type::Text | Type::List(_) | Type::Json => {
                    Ok(Type::Number(Dimension::Plain))
                }
            },
            Function::Default => {
                let other = others.first().unwrap_or(first);
                same(node, &self.of(first)?, &self.of(other)?)
            }
            Function::IsNaN | Function::IsInf => self.number(first).map(|_| Type::Bool),
            Function::IsNil => self.of(first).map(|_| Type::Bool),
            Function::AsFloat | Function::AsInt => match one(self.of(first)?) {
                Type::Text => Ok(Type::Json),
                Type::Number(_) | Type::Zero | Type::Bool | Type::List(_) | Type::Json => self.number(first),
            },
            Function::Abs => self.number(first),
            Function::Sum => match self.of(first)? {
                Type::List(element) => element_number(first, *element),
                Type::Number(_) | Type::Zero | Type::Bool | Type::Text | Type::Json => self.number(first),
            },
            Function::Min | Function::Max => match (self.of(first)?, others) {
                (Type::List(element), []) => element_number(first, *element),
                _ => others
                    .iter()
                    .try_fold(self.number(first)?, |common, other| same(node, &common, &self.number(other)?)),
            },
        }
    }

    fn over(&self, over: Over, list: &Node, each: &Node) -> Checked {
        let found = self.of(list)?;
        let element = match &found {
            Type::List(element) => (**element).clone(),
            Type::Number(_) | Type::Json => found,
            Type::Zero | Type::Bool | Type::Text => return Err(wanted(list, "a list", &found)),
        };
        let inner = Checker { scope: self.scope, item: Some(element.clone()) };
        match over {
            Over::Map => Ok(Type::List(Box::new(inner.of(each)?))),
            Over::Filter => {
                inner.bool(each)?;
                Ok(Type::List(Box::new(element)))
            }
            Over::Count => {
                inner.bool(each)?;
                Ok(Type::Number(Dimension::Plain))
            }
            Over::All | Over::Any | Over::None | Over::One => {
                inner.bool(each)?;
                Ok(Type::Bool)
            }
        }
    }

    fn bool(&self, node: &Node) -> Result<(), ExpressionError> {
        match one(self.of(node)?) {
            Type::Bool | Type::Json => Ok(()),
            other @ (Type::Number(_) | Type::Zero | Type::Text | Type::List(_)) => {
                Err(wanted(node, "true or false", &other))
            }
        }
    }

    fn number(&self, node: &Node) -> Checked {
        match one(self.of(node)?) {
            found @ (Type::Number(_) | Type::Zero | Type::Json) => Ok(found),
            other @ (Type::Bool | Type::Text | Type::List(_)) => Err(wanted(node, "a number", &other)),
        }
    }
}

fn element_number(node: &Node, element: Type) -> Checked {
    match element {
        Type::Number(_) | Type::Zero | Type::Json => Ok(element),
        Type::Bool | Type::Text | Type::List(_) => Err(wanted(node, "a list of numbers", &element)),
    }
}

/// What both are, when they go together.
fn same(node: &Node, left: &Type, right: &Type) -> Checked {
    let together = match (left, right) {
        (Type::Json, _) | (_, Type::Json) => Some(Type::Json),
        (Type::Zero, Type::Number(d)) | (Type::Number(d), Type::Zero) => Some(Type::Number(*d)),
        (Type::Number(a), Type::Number(b)) => a.with(*b).map(Type::Number),
        (Type::List(a), Type::List(b)) => return same(node, a, b).map(|t| Type::List(Box::new(t))),
        (Type::List(a), b) | (b, Type::List(a)) => return same(node, a, b),
        (a, b) => (a == b).then(|| a.clone()),
    };
    together.ok_or_else(|| {
        let advice = match (left, right) {
            (Type::Number(Dimension::Plain), Type::Number(other)) | (Type::Number(other), _) => {
                other.advice()
            }
            _ => "compare like with like",
        };
        error(node, Problem::Unlike { left: said(left), right: said(right), advice })
    })
}

/// A list where one value is meant: its element.
fn one(found: Type) -> Type {
    match found {
        Type::List(element) => *element,
        other @ (Type::Number(_) | Type::Zero | Type::Bool | Type::Text | Type::Json) => other,
    }
}

fn error(node: &Node, problem: Problem) -> ExpressionError {
    ExpressionError::new(node.column, &node.to_string(), problem)
}

fn wanted(node: &Node, expected: &'static str, found: &Type) -> ExpressionError {
    error(node, Problem::Wanted { expected, found: said(found) })
}

fn said(found: &Type) -> String {
    match found {
        Type::Number(dimension) => dimension.to_string(),
        Type::Zero => "a number".into(),
        Type::Bool => "true or false".into(),
        Type::Text => "a text".into(),
        Type::List(element) => format!("a list of {}", said(element)),
        Type::Json => "a JSON value".into(),
    }
}
