//! What conditions mean, what is refused, and that nothing makes them panic.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::{
    Conditions, Declared, Expression, Finding, Missing, Scope, Truth, Unit, Value, Values,
    tree::{Function, Kind, Node, Operator, Over},
};

fn scope() -> Scope {
    Scope::result(Unit::Number)
        .with("new", Declared::Number(Unit::Milliseconds))
        .with("stable", Declared::Number(Unit::Seconds))
        .with("errors", Declared::Number(Unit::Ratio))
        .with("cpu", Declared::Numbers(Unit::Percent))
        .with("rate", Declared::Number(Unit::PerSecond))
        .with("memory", Declared::Number(Unit::Bytes))
        .with("answer", Declared::Json)
}

fn values(result: Vec<f64>) -> Values {
    let one = |name: &str, value: f64| (name.to_string(), Value::Number(value));
    let fields = [("ok".to_string(), Value::Bool(true)), ("state".to_string(), Value::Text("up".into()))];
    let list = vec![Value::Record(fields.into_iter().collect())];
    let answer = [("items".to_string(), Value::List(list)), ("none".to_string(), Value::Nil)];
    [
        ("result".to_string(), Value::numbers(result)),
        ("cpu".to_string(), Value::numbers([40.0, 60.0])),
        ("answer".to_string(), Value::Record(answer.into_iter().collect())),
        one("new", 450.0),
        one("stable", 0.4),
        one("errors", 0.01),
        one("rate", 120.0),
        one("memory", 1_048_576.0),
    ]
    .into_iter()
    .collect()
}

fn told(text: &str, result: &[f64]) -> Truth {
    let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.check(&scope()).unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.evaluate(&scope(), &values(result.to_vec())).truth
}

#[test]
fn conditions_of_other_tools_and_of_our_own_are_answered() {
    for (text, result, holds) in [
        ("result[0] >= 0.95", vec![0.96], true),
        ("result[0] < 0.95", vec![0.96], false),
        ("result < 0.05", vec![0.04], true),
        ("len(result) > 0 and result[0] < 5 || false", vec![4.0, 9.0], true),
        ("all(result, # < 0.05)", vec![0.01, 0.04], true),
        ("all(result, {# < 0.05})", vec![0.01, 0.06], false),
        ("any(result, # > 1) || none(result, # > 0.5)", vec![0.1], true),
        ("default(result, 0) < 0.05", vec![], true),
        ("(result[0] ?? 0) < 1 && !isNaN(result[0] ?? 0)", vec![], true),
        ("asFloat(result[0]) < 1 && asInt(result[0]) == 0", vec![0.9], true),
        ("max(result) <= 3 && min(result) >= 1 && sum(result) == 6", vec![1.0, 2.0, 3.0], true),
        ("count(result, # > 1) in [2, 3] && 9 not in [1]", vec![1.0, 2.0, 3.0], true),
        ("len(filter(result, # > 1)) == 2 && map(result, # * 2)[2] == 6", vec![1.0, 2.0, 3.0], true),
        ("result[0] > 1 ? result[1] < 5 : false", vec![2.0, 4.0], true),
        ("all(answer.items, .ok) && answer.items[0].state == 'up'", vec![], true),
        ("new < 500ms && new < 0.5s && new > 0", vec![], true),
        ("new < stable * 1.1", vec![], false),
        ("new < stable * 115%", vec![], true),
        ("errors < 5% && errors < 0.05", vec![], true),
        ("all(cpu, # < 80%)", vec![], true),
        ("memory <= 1MiB && memory / 1s < 2000000Bps", vec![], true),
        ("rate > 100rps && -rate < -100rps", vec![], true),
        ("new / stable < 1.2", vec![], true),
    ] {
        assert_eq!(told(text, &result), if holds { Truth::True } else { Truth::False }, "{text}");
    }
}

#[test]
fn what_is_missing_or_no_number_is_never_a_pass() {
    let nan = f64::NAN;
    for (text, result, missing) in [
        ("result < 0.05", vec![], Missing::Empty),
        ("result[0] < 0.05", vec![], Missing::OutOfRange { index: 0, length: 0 }),
        ("result[2] < 5", vec![1.0], Missing::OutOfRange { index: 2, length: 1 }),
        ("result < 0.05", vec![0.01, 0.02], Missing::Several(2)),
        ("result < 0.05", vec![nan], Missing::NotANumber),
        ("result >= 0.95", vec![nan], Missing::NotANumber),
        ("!(result >= 0.95)", vec![nan], Missing::NotANumber),
        ("result != 3", vec![nan], Missing::NotANumber),
        ("result > 0.95", vec![f64::INFINITY], Missing::Infinite),
        ("result > -1", vec![f64::NEG_INFINITY], Missing::Infinite),
        ("result / 0 < 5", vec![1.0], Missing::DivisionByZero),
        ("result * 1e308 * 10 > 1", vec![1e10], Missing::Infinite),
        ("all(result, # < 5)", vec![], Missing::Empty),
        ("any(result, # < 5)", vec![], Missing::Empty),
        ("all(result, # < 5)", vec![1.0, nan], Missing::NotANumber),
        ("default(result, 0) < 5", vec![nan], Missing::NotANumber),
        ("result > 5 || result < 9", vec![nan], Missing::NotANumber),
        ("answer.none < 5", vec![], Missing::Nil),
        ("answer.gone < 5", vec![], Missing::NoMember("gone".into())),
        ("answer.items < 5", vec![], Missing::WrongKind { expected: "a number", found: "an object" }),
        (
            "asFloat(answer.items[0].state) < 5",
            vec![],
            Missing::WrongKind { expected: "a number", found: "a text" },
        ),
    ] {
        assert_eq!(told(text, &result), Truth::CannotTell(missing), "{text}");
    }
    let unbound = Expression::parse("result < 5").unwrap().evaluate(&scope(), &Values::new());
    assert_eq!(unbound.truth, Truth::CannotTell(Missing::Absent("result".into())));
}

#[test]
fn one_settled_side_is_enough_and_every_list_element_counts() {
    let nan = f64::NAN;
    assert_eq!(told("result[0] < 5 && result[1] < 5", &[9.0, nan]), Truth::False);
    assert_eq!(told("result[1] < 5 && result[0] < 5", &[9.0, nan]), Truth::False);
    assert_eq!(told("result[1] < 5 || result[0] < 5", &[1.0, nan]), Truth::True);
    assert_eq!(told("any(result, # > 5)", &[nan, 9.0]), Truth::True, "a failing series is seen beside NaN");
    assert_eq!(told("all(result, # < 5)", &[nan, 9.0]), Truth::False);
}

#[test]
fn an_answer_that_the_expression_gave_itself_says_so() {
    let assumed = |text: &str, result: Vec<f64>| {
        Expression::parse(text).unwrap().evaluate(&scope(), &values(result)).assumed
    };
    assert_eq!(assumed("default(result, 0) < 5", vec![]), Some(Missing::Empty));
    assert_eq!(assumed("len(result) == 0 || result[0] < 5", vec![]), Some(Missing::Empty));
    assert_eq!(assumed("isNaN(result) || result < 5", vec![f64::NAN]), Some(Missing::NotANumber));
    assert_eq!(assumed("isInf(result[0])", vec![f64::INFINITY]), Some(Missing::Infinite));
    assert_eq!(assumed("all(answer.items, isNil(.gone))", vec![]), Some(Missing::Nil));
    assert_eq!(assumed("isNaN(result) || default(result, 0) < 5", vec![1.0]), None);
}

#[test]
fn mistakes_are_named_with_column_text_and_advice() {
    for (text, said) in [
        ("result < ", "column 10, at `the end`: expected a value"),
        ("result < 5 5", "column 12, at `5`: expected an operator or the end"),
        ("result < 5parsec", "column 11, at `parsec`: unknown unit; units are %, ns"),
        (
            "rate < 0.05",
            "column 1, at `rate < 0.05`: a rate per second and a plain number do not go together; write a rate with its unit, as 50rps; for a share of failures divide by the rate of requests",
        ),
        (
            "cpu < 80",
            "column 1, at `cpu < 80`: a percentage and a plain number do not go together; write a percentage as 5%",
        ),
        (
            "new < 500",
            "a time and a plain number do not go together; write a time with its unit, as 500ms or 2s",
        ),
        ("500 > new", "a plain number and a time do not go together; write a time with its unit"),
        ("result < 5%", "a plain number and a percentage do not go together; write a percentage as 5%"),
        ("new < 80MiB", "a time and a size in bytes do not go together"),
        ("new + memory > 0", "column 1, at `new + memory`: a time and a size in bytes"),
        (
            "p99 < 5",
            "column 1, at `p99`: unknown name; known here: answer, cpu, errors, memory, new, rate, result, stable",
        ),
        (
            "result",
            "expected a condition that is true or false, such as result < 5%, but this is a list of a plain number",
        ),
        ("rate(result) < 5", "column 1, at `rate`: unknown function; functions are len, default"),
        ("1 < result < 5", "column 12, at `<`: this is not part of the language; comparisons do not chain"),
        ("result == nil", "column 11, at `nil`: this is not part of the language; write isNil(value)"),
        ("result % 2 == 0", "a percentage is written without a blank"),
        ("# < 5", "column 1, at `#`: `#` is the element of a list"),
        ("len() > 1", "len takes one argument"),
        ("'abc", "column 1, at `'abc`: the quote is never closed"),
        ("result < 1e999", "the number is too large"),
        ("result ~ 5", "column 8, at `~`: expected a number, a name"),
        ("stable * stable * stable * stable > 1s", "the unit of this has no meaning"),
        ("(result < 5", "column 12, at `the end`: expected `)`"),
        ("!result", "column 2, at `result`: expected true or false, but this is a plain number"),
        ("result[500ms] < 1", "expected an index, as 0, but this is a time"),
    ] {
        let error = Expression::parse(text).and_then(|e| e.check(&scope())).expect_err(text).to_string();
        assert!(error.contains(said), "{text}\n  said     {error}\n  expected {said}");
    }
    let allowed = format!("{}result < 5{}", "!(".repeat(30), ")".repeat(30));
    assert_eq!(told(&allowed, &[1.0]), Truth::True);
    let deep = format!("{}1 < 2{}", "(".repeat(90), ")".repeat(90));
    assert!(Expression::parse(&deep).unwrap_err().to_string().contains("deeper than 64"));
    let long = format!("{} < 5", "1 + ".repeat(300));
    assert!(Expression::parse(&long).is_err());
    assert!(Expression::parse(&"!".repeat(2_000)).unwrap_err().to_string().contains("deeper"));
    assert!(Expression::parse(&" ".repeat(3_000)).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn lists_within_lists_end_by_themselves() {
    let text = "all(result, all(result, all(result, # >= 0)))";
    assert_eq!(told(text, &vec![1.0; 1_000]), Truth::CannotTell(Missing::TooMuchWork));
}

#[test]
fn success_and_failure_together_have_four_answers() {
    let parse = |text: &str| Some(Expression::parse(text).unwrap());
    let both = Conditions { success: parse("result < 5"), failure: parse("result > 9") };
    let only_success = Conditions { success: parse("result < 5"), failure: None };
    let only_failure = Conditions { success: None, failure: parse("result > 9") };
    let of = |conditions: &Conditions, result: Vec<f64>| conditions.evaluate(&scope(), &values(result)).0;
    assert_eq!(of(&both, vec![1.0]), Finding::Met);
    assert_eq!(of(&both, vec![7.0]), Finding::Between);
    assert_eq!(of(&both, vec![10.0]), Finding::Broken);
    assert_eq!(of(&only_success, vec![7.0]), Finding::Broken);
    assert_eq!(of(&only_failure, vec![7.0]), Finding::Met);
    for conditions in [&both, &only_success, &only_failure, &Conditions::default()] {
        assert!(matches!(of(conditions, vec![]), Finding::CannotTell(_)));
        assert!(matches!(of(conditions, vec![f64::NAN]), Finding::CannotTell(_)));
    }
}

fn node(kind: Kind) -> Node {
    Node::new(1, kind).unwrap()
}

fn literal() -> impl Strategy<Value = Node> {
    let unit = prop::sample::select(vec![
        Unit::Number,
        Unit::Percent,
        Unit::Milliseconds,
        Unit::Minutes,
        Unit::Mebibytes,
        Unit::PerSecond,
    ]);
    let number =
        prop_oneof![0.0..1e18, Just(0.0), Just(1e-300), Just(f64::MAX), (0_u32..1_000).prop_map(f64::from)];
    prop_oneof![
        (number, unit).prop_map(|(value, unit)| node(Kind::Number(value, unit))),
        any::<bool>().prop_map(|value| node(Kind::Bool(value))),
        "[ -~äµ\\n\\t]{0,8}".prop_map(|text| node(Kind::Text(text))),
        prop::sample::select(vec!["result", "new", "len", "all", "_x9", "größe"])
            .prop_map(|name| node(Kind::Name(name.into()))),
    ]
}

fn tree() -> impl Strategy<Value = Node> {
    literal().prop_recursive(5, 24, 4, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|a| node(Kind::Not(a.into()))),
            inner.clone().prop_map(|a| node(Kind::Minus(a.into()))),
            (prop::sample::select(Operator::ALL.to_vec()), two.clone())
                .prop_map(|(operator, (a, b))| node(Kind::Binary(operator, a.into(), b.into()))),
            two.clone().prop_map(|(a, b)| node(Kind::Index(a.into(), b.into()))),
            inner.clone().prop_map(|a| node(Kind::Member(a.into(), "field".into()))),
            two.clone().prop_map(|(a, b)| node(Kind::Call(Function::Max, vec![a, b]))),
            inner.clone().prop_map(|a| node(Kind::Call(Function::Len, vec![a]))),
            (prop::sample::select(Over::ALL.to_vec()), two.clone()).prop_map(|(over, (a, b))| {
                let item = node(Kind::Member(node(Kind::Item).into(), "x".into()));
                let each = node(Kind::Binary(Operator::Less, item.into(), b.into()));
                node(Kind::Over(over, a.into(), each.into()))
            }),
            (inner.clone(), two).prop_map(|(a, (b, c))| node(Kind::Choice(a.into(), b.into(), c.into()))),
            prop::collection::vec(inner, 0..3).prop_map(|elements| node(Kind::List(elements))),
        ]
    })
}

proptest! {
    #[test]
    fn the_canonical_text_parses_to_the_same_tree(root in tree()) {
        let expression = Expression { root };
        let text = expression.to_string();
        prop_assume!(text.len() <= super::LENGTH_MAX);
        let read = Expression::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&read, &expression, "{}", text);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ -~]{0,60}|(result|all\\(|len\\(|#|\\.x|\\[|\\]|\\(|\\)|<|&&|\\?|:|5%|'|!|-|,| ){0,24}") {
        if let Ok(expression) = Expression::parse(&text) {
            let _checked = expression.check(&scope());
            let _answer = expression.evaluate(&scope(), &values(vec![1.0, f64::NAN]));
        }
    }

    #[test]
    fn no_tree_makes_evaluation_panic_and_a_checked_one_never_answers_from_nan(root in tree()) {
        let expression = Expression { root };
        let _unchecked = expression.evaluate(&scope(), &values(vec![f64::NAN, f64::INFINITY]));
        let compared = format!("result < 5 && ({expression})");
        if let Ok(compared) = Expression::parse(&compared) {
            let truth = compared.evaluate(&scope(), &values(vec![f64::NAN])).truth;
            prop_assert_ne!(truth, Truth::True);
        }
    }

    #[test]
    fn a_stored_condition_comes_back(text in prop::sample::select(vec!["result < 5%", "all(result, # < 500ms)"])) {
        let expression = Expression::parse(text).unwrap();
        let stored = serde_json::to_string(&expression).unwrap();
        prop_assert_eq!(stored, format!("{text:?}"));
        let read: Expression = serde_json::from_str(&format!("{text:?}")).unwrap();
        prop_assert_eq!(read, expression);
        prop_assert!(serde_json::from_str::<Expression>("\"result <\"").is_err());
        let _name: String = text.into();
    }
}
