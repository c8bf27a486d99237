//! The answer, in three values.

use alloc::{
    borrow::{Cow, ToOwned},
    vec::Vec,
};

use super::{
    Declared, Evaluation, Missing, STEPS_MAX, Scope, Truth, Value, Values,
    tree::{Function, Kind, Node, Operator, Over},
};

pub(super) fn evaluate(root: &Node, scope: &Scope, values: &Values) -> Evaluation {
    let in_base: Values =
        values.iter().map(|(name, value)| (name.clone(), to_base(value, scope.get(name)))).collect();
    let mut run = Run { values: &in_base, steps: 0, assumed: None };
    let truth = match run.bool(root, None) {
        Ok(true) => Truth::True,
        Ok(false) => Truth::False,
        Err(missing) => Truth::CannotTell(missing),
    };
    Evaluation { truth, assumed: run.assumed }
}

/// Numbers in the base unit of what they are declared in.
fn to_base(value: &Value, declared: Option<Declared>) -> Value {
    match (value, declared) {
        (Value::Number(number), Some(Declared::Number(unit) | Declared::Numbers(unit))) => {
            Value::Number(unit.to_base(*number))
        }
        (Value::List(elements), Some(Declared::Number(_) | Declared::Numbers(_))) => {
            Value::List(elements.iter().map(|element| to_base(element, declared)).collect())
        }
        (other, _) => other.clone(),
    }
}

struct Run<'v> {
    values: &'v Values,
    steps: u32,
    assumed: Option<Missing>,
}

type Seen<'v> = Result<Cow<'v, Value>, Missing>;

impl<'v> Run<'v> {
    fn of(&mut self, node: &Node, item: Option<&'v Value>) -> Seen<'v> {
        self.step(1)?;
        match &node.kind {
            Kind::Number(value, unit) => number(unit.to_base(*value)),
            Kind::Bool(value) => truth(*value),
            Kind::Text(text) => Ok(Cow::Owned(Value::Text(text.clone()))),
            Kind::List(elements) => self.list(elements, item),
            Kind::Name(name) => {
                self.values.get(name).map(Cow::Borrowed).ok_or_else(|| Missing::Absent(name.clone()))
            }
            Kind::Item => item.map(Cow::Borrowed).ok_or(Missing::Nil),
            Kind::Not(inner) => truth(!self.bool(inner, item)?),
            Kind::Minus(inner) => number(-self.number(inner, item)?),
            Kind::Binary(operator, left, right) => self.binary(*operator, left, right, item),
            Kind::Index(list, index) => self.index(list, index, item),
            Kind::Member(record, name) => member(self.of(record, item)?, name),
            Kind::Call(function, arguments) => self.call(*function, arguments, item),
            Kind::Over(over, list, each) => self.over(*over, list, each, item),
            Kind::Choice(condition, yes, no) => {
                let chosen = if self.bool(condition, item)? { yes } else { no };
                self.of(chosen, item)
            }
        }
    }

    fn step(&mut self, steps: usize) -> Result<(), Missing> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps > STEPS_MAX { Err(Missing::TooMuchWork) } else { Ok(()) }
    }

    /// Notes that the expression answers for something missing.
    fn assume(&mut self, missing: Missing) {
        self.assumed.get_or_insert(missing);
    }

    fn list(&mut self, elements: &[Node], item: Option<&'v Value>) -> Seen<'v> {
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            values.push(self.of(element, item)?.into_owned());
        }
        Ok(Cow::Owned(Value::List(values)))
    }

    fn bool(&mut self, node: &Node, item: Option<&'v Value>) -> Result<bool, Missing> {
        match &*single(self.of(node, item)?)? {
            Value::Bool(value) => Ok(*value),
            other => Err(wrong("true or false", other)),
        }
    }

    /// A number, perhaps NaN or infinite.
    fn any_number(&mut self, node: &Node, item: Option<&'v Value>) -> Result<f64, Missing> {
        match &*single(self.of(node, item)?)? {
            Value::Number(value) => Ok(*value),
            other => Err(wrong("a number", other)),
        }
    }

    fn number(&mut self, node: &Node, item: Option<&'v Value>) -> Result<f64, Missing> {
        self.any_number(node, item).and_then(finite)
    }

    fn binary(&mut self, operator: Operator, left: &Node, right: &Node, item: Option<&'v Value>) -> Seen<'v> {
        match operator {
            Operator::And => self.kleene(left, right, item, false),
            Operator::Or => self.kleene(left, right, item, true),
            Operator::Equal => truth(self.equal(left, right, item)?),
            Operator::Unequal => truth(!self.equal(left, right, item)?),
            Operator::In => self.contained(left, right, item),
            Operator::Else => self.instead(left, right, item),
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::Plus
            | Operator::Minus
            | Operator::Times
            | Operator::Per => arithmetic(operator, self.number(left, item)?, self.number(right, item)?),
        }
    }

    /// `&&` is settled by one false side, `||` by one true side, whatever the other can tell.
    fn kleene(&mut self, left: &Node, right: &Node, item: Option<&'v Value>, settles: bool) -> Seen<'v> {
        match self.bool(left, item) {
            Ok(value) if value == settles => truth(settles),
            Ok(_) => truth(self.bool(right, item)?),
            Err(missing) => match self.bool(right, item) {
                Ok(value) if value == settles => truth(settles),
                Ok(_) | Err(_) => Err(missing),
            },
        }
    }

    fn equal(&mut self, left: &Node, right: &Node, item: Option<&'v Value>) -> Result<bool, Missing> {
        let left = single(self.of(left, item)?)?;
        let right = single(self.of(right, item)?)?;
        same(&left, &right)
    }

    fn contained(&mut self, left: &Node, right: &Node, item: Option<&'v Value>) -> Seen<'v> {
        let wanted = single(self.of(left, item)?)?;
        let list = self.of(right, item)?;
        let Value::List(elements) = &*list else { return Err(wrong("a list", &list)) };
        self.step(elements.len())?;
        let mut unclear = None;
        for element in elements {
            match same(&wanted, element) {
                Ok(true) => return truth(true),
                Ok(false) => {}
                Err(missing) => unclear = Some(missing),
            }
        }
        unclear.map_or_else(|| truth(false), Err)
    }

    /// The left side, or the right one where there is nothing.
    fn instead(&mut self, left: &Node, right: &Node, item: Option<&'v Value>) -> Seen<'v> {
        let missing = match self.of(left, item) {
            Ok(found) => match &*found {
                Value::Nil => Missing::Nil,
                Value::List(elements) if elements.is_empty() => Missing::Empty,
                _ => return Ok(found),
            },
            Err(missing) if missing.is_nothing() => missing,
            Err(missing) => return Err(missing),
        };
        self.assume(missing);
        self.of(right, item)
    }

    fn index(&mut self, list: &Node, index: &Node, item: Option<&'v Value>) -> Seen<'v> {
        let list = self.of(list, item)?;
        let index = self.of(index, item)?;
        if let Value::Text(name) = &*index {
            return member(list, name);
        }
        let Value::Number(at) = *single(index)? else {
            return Err(Missing::WrongKind { expected: "an index", found: "another value" });
        };
        let at = whole(finite(at)?)?;
        match list {
            Cow::Borrowed(Value::List(elements)) => element(elements, at).map(Cow::Borrowed),
            Cow::Owned(Value::List(elements)) => element(&elements, at).cloned().map(Cow::Owned),
            // One number is a list of one here, so that `result[0]` is right for scalars too.
            other if at == 0 && matches!(*other, Value::Number(_)) => Ok(other),
            other => match &*other {
                Value::Number(_) => Err(Missing::OutOfRange { index: at, length: 1 }),
                found => Err(wrong("a list", found)),
            },
        }
    }

    fn call(&mut self, function: Function, arguments: &[Node], item: Option<&'v Value>) -> Seen<'v> {
        let [first, others @ ..] = arguments else { return Err(Missing::Nil) };
        match function {
            Function::Len => self.len(first, item),
            Function::Default => self.instead(first, others.first().unwrap_or(first), item),
            Function::IsNaN => self.is(first, item, f64::is_nan, Missing::NotANumber),
            Function::IsInf => self.is(first, item, f64::is_infinite, Missing::Infinite),
            Function::IsNil => self.is_nil(first, item),
            Function::AsFloat => number(self.converted(first, item)?),
            Function::AsInt => number(libm::trunc(finite(self.converted(first, item)?)?)),
            Function::Abs => number(self.number(first, item)?.abs()),
            Function::Sum => number(self.numbers(first, others, item)?.iter().sum()),
            Function::Min => self.extreme(first, others, item, |a, b| a < b),
            Function::Max => self.extreme(first, others, item, |a, b| a > b),
        }
    }

    fn len(&mut self, node: &Node, item: Option<&'v Value>) -> Seen<'v> {
        let length = match &*self.of(node, item)? {
            Value::List(elements) => elements.len(),
            Value::Record(members) => members.len(),
            Value::Text(text) => text.chars().count(),
            Value::Number(_) => 1,
            Value::Nil => return Err(Missing::Nil),
            other @ Value::Bool(_) => return Err(wrong("a list", other)),
        };
        if length == 0 {
            self.assume(Missing::Empty);
        }
        number(length as f64)
    }

    fn is(
        &mut self,
        node: &Node,
        item: Option<&'v Value>,
        is: impl Fn(f64) -> bool,
        seen: Missing,
    ) -> Seen<'v> {
        let holds = is(self.any_number(node, item)?);
        if holds {
            self.assume(seen);
        }
        truth(holds)
    }

    fn is_nil(&mut self, node: &Node, item: Option<&'v Value>) -> Seen<'v> {
        let nil = match self.of(node, item) {
            Ok(found) => *found == Value::Nil,
            Err(Missing::Absent(_) | Missing::NoMember(_) | Missing::Nil) => true,
            Err(other) => return Err(other),
        };
        if nil {
            self.assume(Missing::Nil);
        }
        truth(nil)
    }

    fn converted(&mut self, node: &Node, item: Option<&'v Value>) -> Result<f64, Missing> {
        match &*single(self.of(node, item)?)? {
            Value::Number(value) => Ok(*value),
            text @ Value::Text(written) => written.trim().parse().map_err(|_| wrong("a number", text)),
            other => Err(wrong("a number", other)),
        }
    }

    /// The numbers of a list, or of several arguments.
    fn numbers(
        &mut self,
        first: &Node,
        others: &[Node],
        item: Option<&'v Value>,
    ) -> Result<Vec<f64>, Missing> {
        let found = self.of(first, item)?;
        let mut numbers = if let (Value::List(elements), []) = (&*found, others) {
            self.step(elements.len())?;
            elements.iter().map(as_number).collect::<Result<Vec<f64>, Missing>>()?
        } else {
            let one = single(found)?;
            alloc::vec![as_number(&one)?]
        };
        for other in others {
            numbers.push(self.number(other, item)?);
        }
        if numbers.is_empty() { Err(Missing::Empty) } else { Ok(numbers) }
    }

    fn extreme(
        &mut self,
        first: &Node,
        others: &[Node],
        item: Option<&'v Value>,
        better: impl Fn(f64, f64) -> bool,
    ) -> Seen<'v> {
        let numbers = self.numbers(first, others, item)?;
        let best = numbers.into_iter().reduce(|best, next| if better(next, best) { next } else { best });
        number(best.ok_or(Missing::Empty)?)
    }

    fn over(&mut self, over: Over, list: &Node, each: &Node, item: Option<&'v Value>) -> Seen<'v> {
        let list = self.of(list, item)?.into_owned();
        let elements = match list {
            Value::List(elements) => elements,
            one @ Value::Number(_) => alloc::vec![one],
            other => return Err(wrong("a list", &other)),
        };
        self.step(elements.len())?;
        // The elements live shorter than the values, so a run of its own goes over them.
        let mut inner = Run { values: self.values, steps: self.steps, assumed: self.assumed.take() };
        let answer = inner.each(over, &elements, each);
        self.steps = inner.steps;
        self.assumed = inner.assumed.take();
        answer.map(Cow::Owned)
    }
}

impl<'v> Run<'v> {
    /// Goes over a list. Without elements there is nothing to tell from: "all of none" is no pass.
    fn each(&mut self, over: Over, elements: &'v [Value], each: &Node) -> Result<Value, Missing> {
        if elements.is_empty() {
            return Err(Missing::Empty);
        }
        match over {
            Over::Map => {
                let mut mapped = Vec::with_capacity(elements.len());
                for element in elements {
                    mapped.push(self.of(each, Some(element))?.into_owned());
                }
                Ok(Value::List(mapped))
            }
            Over::Filter => {
                let mut kept = Vec::new();
                for element in elements {
                    if self.bool(each, Some(element))? {
                        kept.push(element.clone());
                    }
                }
                Ok(Value::List(kept))
            }
            Over::All => self.settle(elements, each, false).map(|settled| Value::Bool(!settled)),
            Over::Any => self.settle(elements, each, true).map(Value::Bool),
            Over::None => self.settle(elements, each, true).map(|settled| Value::Bool(!settled)),
            Over::One => Ok(Value::Bool(self.count(elements, each)? == 1)),
            Over::Count => Ok(Value::Number(self.count(elements, each)? as f64)),
        }
    }

    /// Whether some element is `wanted`; when none is and some can not be told, neither can this.
    fn settle(&mut self, elements: &'v [Value], each: &Node, wanted: bool) -> Result<bool, Missing> {
        let mut unclear = None;
        for element in elements {
            match self.bool(each, Some(element)) {
                Ok(holds) if holds == wanted => return Ok(true),
                Ok(_) => {}
                Err(missing) => unclear = unclear.or(Some(missing)),
            }
        }
        unclear.map_or(Ok(false), Err)
    }

    fn count(&mut self, elements: &'v [Value], each: &Node) -> Result<usize, Missing> {
        let mut count = 0;
        for element in elements {
            count += usize::from(self.bool(each, Some(element))?);
        }
        Ok(count)
    }
}

fn member<'v>(record: Cow<'v, Value>, name: &str) -> Seen<'v> {
    let none = || Missing::NoMember(name.to_owned());
    match record {
        Cow::Borrowed(Value::Record(members)) => members.get(name).map(Cow::Borrowed).ok_or_else(none),
        Cow::Owned(Value::Record(mut members)) => members.remove(name).map(Cow::Owned).ok_or_else(none),
        other => match &*other {
            Value::Nil => Err(Missing::Nil),
            found => Err(wrong("an object", found)),
        },
    }
}

fn element(elements: &[Value], at: u64) -> Result<&Value, Missing> {
    let missing = || Missing::OutOfRange { index: at, length: elements.len() };
    usize::try_from(at).ok().and_then(|at| elements.get(at)).ok_or_else(missing)
}

/// The one value that is meant.
fn single(value: Cow<'_, Value>) -> Seen<'_> {
    match value {
        Cow::Borrowed(Value::List(elements)) => match elements.as_slice() {
            [one] => Ok(Cow::Borrowed(one)),
            [] => Err(Missing::Empty),
            many => Err(Missing::Several(many.len())),
        },
        Cow::Owned(Value::List(mut elements)) => match (elements.pop(), elements.len()) {
            (Some(one), 0) => Ok(Cow::Owned(one)),
            (None, _) => Err(Missing::Empty),
            (Some(_), rest) => Err(Missing::Several(rest + 1)),
        },
        other => match &*other {
            Value::Nil => Err(Missing::Nil),
            _ => Ok(other),
        },
    }
}

fn same(left: &Value, right: &Value) -> Result<bool, Missing> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (finite(*a)?, finite(*b)?);
            Ok((a - b) == 0.0)
        }
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Nil, _) | (_, Value::Nil) => Err(Missing::Nil),
        (Value::Number(_), other) | (other, Value::Number(_)) => Err(wrong("a number", other)),
        (Value::Text(_), other) | (other, Value::Text(_)) => Err(wrong("a text", other)),
        (other, _) => Err(wrong("a single value", other)),
    }
}

fn arithmetic<'v>(operator: Operator, left: f64, right: f64) -> Seen<'v> {
    match operator {
        Operator::Less => truth(left < right),
        Operator::LessOrEqual => truth(left <= right),
        Operator::Greater => truth(left > right),
        Operator::GreaterOrEqual => truth(left >= right),
        Operator::Plus => number(left + right),
        Operator::Minus => number(left - right),
        Operator::Times => number(left * right),
        Operator::Per if right == 0.0 => Err(Missing::DivisionByZero),
        Operator::Per => number(left / right),
        Operator::Or
        | Operator::And
        | Operator::Equal
        | Operator::Unequal
        | Operator::In
        | Operator::Else => Err(Missing::WrongKind { expected: "a number", found: "something else" }),
    }
}

fn as_number(value: &Value) -> Result<f64, Missing> {
    match value {
        Value::Number(number) => finite(*number),
        Value::Nil => Err(Missing::Nil),
        other => Err(wrong("a number", other)),
    }
}

fn finite(number: f64) -> Result<f64, Missing> {
    if number.is_nan() {
        Err(Missing::NotANumber)
    } else if number.is_infinite() {
        Err(Missing::Infinite)
    } else {
        Ok(number)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and in range"
)]
fn whole(number: f64) -> Result<u64, Missing> {
    if (0.0..9e15).contains(&number) && libm::trunc(number) >= number {
        Ok(number as u64)
    } else {
        Err(Missing::WrongKind { expected: "a whole index from 0", found: "another number" })
    }
}

fn wrong(expected: &'static str, found: &Value) -> Missing {
    Missing::WrongKind { expected, found: found.kind() }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every answer")]
fn number<'v>(value: f64) -> Seen<'v> {
    Ok(Cow::Owned(Value::Number(value)))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every answer")]
fn truth<'v>(value: bool) -> Seen<'v> {
    Ok(Cow::Owned(Value::Bool(value)))
}
