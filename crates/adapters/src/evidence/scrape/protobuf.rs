//! The protobuf format: length-delimited `io.prometheus.client.MetricFamily`. The only exposition with native histograms.
//!
//! Field numbers are those of `metrics.proto` of `prometheus/client_model`. Unknown fields are skipped, as protobuf asks.

use tidegate_core::model::Timestamp;

use super::{
    super::{
        answer::{Labels, named},
        fault::FaultKind,
        histogram::{BUCKETS_MAX, Histogram},
    },
    Exposition, POINTS_MAX, Point,
};

type Read<T> = Result<T, String>;

pub(super) fn parse(body: &[u8]) -> Result<Exposition, FaultKind> {
    let mut exposition = Exposition { points: Vec::new(), native: Vec::new() };
    let mut rest = body;
    let mut family = 0;
    while !rest.is_empty() {
        family += 1;
        let message = varint(&mut rest).and_then(|length| take(&mut rest, length));
        // A length that reaches behind the end is an answer that was cut.
        let message = message.map_err(FaultKind::Truncated)?;
        metric_family(message, &mut exposition).map_err(|why| FaultKind::NotMetrics { line: family, why })?;
        if exposition.points.len() + exposition.native.len() > POINTS_MAX {
            return Err(FaultKind::TooMany(POINTS_MAX));
        }
    }
    Ok(exposition)
}

fn metric_family(message: &[u8], exposition: &mut Exposition) -> Read<()> {
    let mut name = String::new();
    let mut kind = 0;
    let mut metrics = Vec::new();
    each(message, |number, field| {
        match number {
            1 => name = field.text()?,
            3 => kind = field.integer()?,
            4 => metrics.push(field.bytes()?),
            _ => {}
        }
        Ok(())
    })?;
    if name.is_empty() {
        return Err("a family without a name".to_owned());
    }
    metrics.into_iter().try_for_each(|bytes| metric(&name, kind, bytes, exposition))
}

/// What a `Metric` holds, before its kind is looked at.
#[derive(Default)]
struct Metric<'a> {
    labels: Labels,
    value: Option<&'a [u8]>,
    at: Option<Timestamp>,
}

fn metric(family: &str, kind: u64, message: &[u8], exposition: &mut Exposition) -> Read<()> {
    let mut metric = Metric::default();
    // Numbers of the value's field by kind: counter, gauge, summary, untyped, histogram, gauge histogram.
    let wanted = match kind {
        0 => 3,
        1 => 2,
        2 => 4,
        3 => 5,
        4 | 5 => 7,
        other => return Err(format!("{other} is no type of metric")),
    };
    each(message, |number, field| {
        match number {
            1 => {
                let (name, value) = label(field.bytes()?)?;
                if metric.labels.insert(name, value).is_some() {
                    return Err("a label is given twice".to_owned());
                }
            }
            6 => metric.at = Some(Timestamp(field.integer()?.cast_signed())),
            number if number == wanted => metric.value = Some(field.bytes()?),
            _ => {}
        }
        Ok(())
    })?;
    let value = metric.value.ok_or_else(|| format!("{family} has no value of its type"))?;
    match kind {
        0 | 1 | 3 => simple(family, kind, &metric, value, exposition),
        2 => summary(family, &metric, value, exposition),
        _ => histogram(family, &metric, value, exposition),
    }
}

fn label(message: &[u8]) -> Read<(String, String)> {
    let (mut name, mut value) = (String::new(), String::new());
    each(message, |number, field| {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, value))
}

fn simple(name: &str, kind: u64, metric: &Metric<'_>, value: &[u8], exposition: &mut Exposition) -> Read<()> {
    let (mut number_is, mut created) = (0.0, None);
    each(value, |number, field| {
        match number {
            1 => number_is = field.double()?,
            3 if kind == 0 => created = time(field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    exposition.points.push(Point {
        name: name.to_owned(),
        labels: metric.labels.clone(),
        value: number_is,
        at: metric.at,
        created,
    });
    Ok(())
}

fn summary(name: &str, metric: &Metric<'_>, value: &[u8], exposition: &mut Exposition) -> Read<()> {
    let (mut count, mut sum, mut created) = (0, 0.0, None);
    each(value, |number, field| {
        match number {
            1 => count = field.integer()?,
            2 => sum = field.double()?,
            4 => created = time(field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    for (suffix, value) in [("_count", count as f64), ("_sum", sum)] {
        let name = format!("{name}{suffix}");
        exposition.points.push(Point { name, labels: metric.labels.clone(), value, at: metric.at, created });
    }
    Ok(())
}

/// A histogram's fields as they stand.
#[derive(Default)]
struct Raw {
    count: u64,
    sum: f64,
    classic: Vec<(f64, f64)>,
    schema: Option<i64>,
    zero_threshold: f64,
    zero_count: u64,
    negative: (Vec<(i64, u64)>, Vec<i64>),
    positive: (Vec<(i64, u64)>, Vec<i64>),
    floats: bool,
    created: Option<Timestamp>,
}

fn histogram(family: &str, metric: &Metric<'_>, value: &[u8], exposition: &mut Exposition) -> Read<()> {
    let mut raw = Raw::default();
    each(value, |number, field| raw.field(number, field))?;
    if raw.floats {
        return Err(format!("{family} is a histogram of fractions, not of counts"));
    }
    let mut labels = metric.labels.clone();
    let created = raw.created;
    let point = |suffix: &str, labels: Labels, value: f64| Point {
        name: format!("{family}{suffix}"),
        labels,
        value,
        at: metric.at,
        created,
    };
    exposition.points.push(point("_count", labels.clone(), raw.count as f64));
    exposition.points.push(point("_sum", labels.clone(), raw.sum));
    if !raw.classic.is_empty() && raw.classic.iter().all(|(edge, _)| edge.is_finite()) {
        raw.classic.push((f64::INFINITY, raw.count as f64));
    }
    for (edge, count) in &raw.classic {
        let mut labels = labels.clone();
        labels.insert("le".to_owned(), if edge.is_infinite() { "+Inf".to_owned() } else { edge.to_string() });
        exposition.points.push(point("_bucket", labels, *count));
    }
    let Some(schema) = raw.schema.filter(|_| raw.is_native()) else { return Ok(()) };
    let buckets = raw.buckets(schema)?;
    labels.insert("__name__".to_owned(), family.to_owned());
    let what = named(&labels);
    let at = metric.at.unwrap_or_default();
    let native = Histogram::native(labels, at, created, buckets, raw.count, i8::try_from(schema).ok());
    exposition.native.push((
        family.to_owned(),
        native.map_err(|why| format!("{what}: {why}"))?,
        metric.at.is_some(),
    ));
    Ok(())
}

impl Raw {
    fn field(&mut self, number: u64, field: Field<'_>) -> Read<()> {
        match number {
            1 => self.count = field.integer()?,
            2 => self.sum = field.double()?,
            3 => self.classic.push(bucket(field.bytes()?)?),
            4 | 8 => self.floats |= field.double()? != 0.0,
            11 | 14 => self.floats = true,
            5 => self.schema = Some(zigzag(field.integer()?)),
            6 => self.zero_threshold = field.double()?,
            7 => self.zero_count = field.integer()?,
            9 => self.negative.0.push(span(field.bytes()?)?),
            10 => self.negative.1.extend(deltas(field)?),
            12 => self.positive.0.push(span(field.bytes()?)?),
            13 => self.positive.1.extend(deltas(field)?),
            15 => self.created = time(field.bytes()?)?,
            _ => {}
        }
        if self.classic.len() > BUCKETS_MAX || self.positive.1.len() + self.negative.1.len() > BUCKETS_MAX {
            return Err("a histogram has too many buckets".to_owned());
        }
        Ok(())
    }

    /// A classic histogram has none of these; the schema alone is not enough, as 0 is also its default.
    fn is_native(&self) -> bool {
        let spans = self.positive.0.len() + self.negative.0.len();
        spans > 0 || self.zero_count > 0 || self.zero_threshold > 0.0
    }

    /// Upper edges and counts. The edges of schema n are the powers of 2^(2^-n).
    fn buckets(&self, schema: i64) -> Read<Vec<(f64, u64)>> {
        if !(-4..=8).contains(&schema) {
            return Err(format!("histograms of schema {schema} are not read"));
        }
        let growth = 2_f64.powi(-i32::try_from(schema).unwrap_or(0));
        let edge = |index: i64| 2_f64.powf(index as f64 * growth);
        let mut buckets = Vec::new();
        for (index, count) in counts(&self.negative)? {
            buckets.push((-edge(index - 1), count));
        }
        if self.zero_count > 0 {
            buckets.push((self.zero_threshold, self.zero_count));
        }
        for (index, count) in counts(&self.positive)? {
            buckets.push((edge(index), count));
        }
        buckets.retain(|(_, count)| *count > 0);
        Ok(buckets)
    }
}

/// Index and count of each bucket: spans say which indices exist, deltas by how much each count differs from the one before.
fn counts((spans, deltas): &(Vec<(i64, u64)>, Vec<i64>)) -> Read<Vec<(i64, u64)>> {
    let mut deltas = deltas.iter();
    let (mut index, mut count) = (0_i64, 0_i64);
    let mut counts = Vec::new();
    for (offset, length) in spans {
        index = index.saturating_add(*offset);
        for _ in 0..*length {
            let delta = deltas.next().ok_or("a histogram's spans promise more buckets than it has")?;
            count = count.saturating_add(*delta);
            counts.push((index, u64::try_from(count).map_err(|_| "a histogram's bucket is negative")?));
            index = index.saturating_add(1);
        }
    }
    if deltas.next().is_some() {
        return Err("a histogram has more buckets than its spans".to_owned());
    }
    Ok(counts)
}

fn bucket(message: &[u8]) -> Read<(f64, f64)> {
    let (mut count, mut edge) = (0, 0.0);
    each(message, |number, field| {
        match number {
            1 => count = field.integer()?,
            2 => edge = field.double()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((edge, count as f64))
}

fn span(message: &[u8]) -> Read<(i64, u64)> {
    let (mut offset, mut length) = (0, 0);
    each(message, |number, field| {
        match number {
            1 => offset = zigzag(field.integer()?),
            2 => length = field.integer()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((offset, length))
}

/// Packed or one by one.
fn deltas(field: Field<'_>) -> Read<Vec<i64>> {
    match field {
        Field::Varint(value) => Ok(vec![zigzag(value)]),
        Field::Bytes(mut rest) => {
            let mut all = Vec::new();
            while !rest.is_empty() && all.len() <= BUCKETS_MAX {
                all.push(zigzag(varint(&mut rest)?));
            }
            Ok(all)
        }
        Field::Double(_) | Field::Fixed32 => Err("a histogram's deltas are of the wrong type".to_owned()),
    }
}

fn time(message: &[u8]) -> Read<Option<Timestamp>> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    each(message, |number, field| {
        match number {
            1 => seconds = field.integer()?.cast_signed(),
            2 => nanos = field.integer()?.cast_signed(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Some(Timestamp(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))))
}

/// One field's value.
#[derive(Clone, Copy)]
enum Field<'a> {
    Varint(u64),
    Double(f64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Field<'a> {
    fn integer(self) -> Read<u64> {
        if let Self::Varint(value) = self { Ok(value) } else { Err("a field is no integer".to_owned()) }
    }

    fn double(self) -> Read<f64> {
        if let Self::Double(value) = self { Ok(value) } else { Err("a field is no number".to_owned()) }
    }

    fn bytes(self) -> Read<&'a [u8]> {
        if let Self::Bytes(value) = self { Ok(value) } else { Err("a field is no message".to_owned()) }
    }

    fn text(self) -> Read<String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a text is not UTF-8".to_owned())
    }
}

/// Goes over the fields of a message.
fn each<'a>(mut message: &'a [u8], mut seen: impl FnMut(u64, Field<'a>) -> Read<()>) -> Read<()> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut message)?),
            1 => {
                let bytes = take(&mut message, 8)?;
                Field::Double(f64::from_le_bytes(bytes.try_into().map_err(|_| "a number is cut short")?))
            }
            2 => {
                let length = varint(&mut message)?;
                Field::Bytes(take(&mut message, length)?)
            }
            5 => {
                take(&mut message, 4)?;
                Field::Fixed32
            }
            other => return Err(format!("{other} is no wire type")),
        };
        seen(key >> 3, field)?;
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Read<&'a [u8]> {
    let cut = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (taken, behind) = cut.ok_or("a field reaches behind the end")?;
    *rest = behind;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Read<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, behind) = rest.split_first().ok_or("an integer is cut short")?;
        *rest = behind;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("an integer is too long".to_owned())
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
