//! Native histograms, which Prometheus 3.x has and text cannot tell: written into a server as another Prometheus would.

use super::by_hand::accepted;
use super::compiler::Idle::{Hold, Zero};
use super::data::WorkloadKind::{Deployment, StatefulSet};
use super::data::{Holds, LLAMA, MISTRAL, PODS, Pod, START, STEP, STEPS, TIMES};
use super::expression::Claim;
use super::expression::Root::{Level, Total, Unique};
use super::oracle::Tally;
use super::random::Random;
use super::world::World;

#[test]
fn native_histograms_keep_the_contract() {
    let world = World::empty(|world| world.databases().rev().for_each(|(holds, earlier)| write(world, holds, earlier)));
    let claims = [
        ("histogram_quantile(0.9, sum by (pod) (rate(ttft_seconds[2m])))", Unique),
        ("max by (pod) (histogram_quantile(0.5, rate(ttft_seconds[2m])))", Unique),
        ("histogram_count(sum by (pod) (rate(ttft_seconds[2m])))", Unique),
        ("histogram_fraction(0, 2, sum by (pod) (increase(ttft_seconds[5m])))", Unique),
        ("max by (pod) (histogram_avg(rate(ttft_seconds[2m])))", Unique),
        ("histogram_stddev(sum by (pod) (ttft_seconds offset 1m))", Unique),
        ("sum by (pod) (histogram_sum(rate(ttft_seconds{model_name=\"mistral\"}[2m])))", Unique),
        (
            "histogram_count(sum by (pod) (rate(ttft_seconds[2m]))) / on () group_left () \
             ⟦histogram_count(sum(rate(ttft_seconds[2m])))⟧",
            Unique,
        ),
        ("histogram_count(sum(rate(⟨ttft_seconds⟩[2m])))", Total(Deployment)),
        ("histogram_sum(sum(increase(⟨ttft_seconds⟩[2m])))", Total(StatefulSet)),
        ("sum(histogram_count(rate(⟨ttft_seconds⟩[2m])))", Total(Deployment)),
        ("histogram_quantile(0.9, sum(rate(⟨ttft_seconds⟩[2m])))", Level(Deployment)),
        ("histogram_avg(sum(rate(⟨ttft_seconds⟩[2m])))", Level(StatefulSet)),
        ("histogram_fraction(0, 2, sum(rate(⟨ttft_seconds{model_name=\"mistral\"}⟩[2m])))", Level(Deployment)),
    ];
    let mut all = Tally::default();
    for (text, root) in claims {
        for idle in [Hold, Zero] {
            let claim = Claim { text, root, idle };
            let tally = world.check(claim, &accepted(&world, claim), &world.expected(claim, &TIMES));
            assert!(tally.non_empty * 2 > tally.compared, "{text}: {} of {}", tally.non_empty, tally.compared);
            all.add(tally);
        }
    }
    println!("native histograms: {} compared, {} not empty", all.compared, all.non_empty);
    assert!(all.failures.is_empty(), "{}", all.failures.join("\n"));
}

/// One write request for a database: <https://prometheus.io/docs/specs/prw/remote_write_spec/>.
fn write(world: &World, holds: &Holds, earlier: u64) {
    let mut request = Message::default();
    for (pod, model) in PODS.into_iter().flat_map(|pod| [(pod, LLAMA), (pod, MISTRAL)]) {
        let namespace = match holds {
            Holds::Everything => Some(pod.namespace),
            Holds::Pods(_, pods) if pods.contains(&pod) => None,
            Holds::Pods(..) => continue,
        };
        let mut series = Message::default();
        let labels = [("__name__", Some("ttft_seconds")), ("model_name", Some(model)), ("namespace", namespace)];
        for (name, value) in labels.into_iter().chain([("pod", Some(pod.name))]) {
            let Some(value) = value else { continue };
            let mut label = Message::default();
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
            series.bytes(1, &label.0);
        }
        for (histogram, step) in histograms(pod, model).iter().zip(0..) {
            series.bytes(4, &histogram.message((START + step * STEP - earlier) * 1000).0);
        }
        request.bytes(1, &series.0);
    }
    world.write(&snappy(&request.0));
}

/// Observations up to 1, 2, 4 and 8 seconds.
#[derive(Clone, Copy, Default)]
struct Histogram([u64; 4]);

/// Each step observes; the first pod restarts.
fn histograms(pod: Pod, model: &str) -> Vec<Histogram> {
    let place = PODS.iter().position(|other| *other == pod).expect("every pod is in the table") as u64;
    let mut random = Random::new(place * 100 + model.len() as u64);
    let mut total = Histogram::default();
    let each = |step: u64| {
        if step == 70 && place == 0 {
            total = Histogram::default();
        }
        total.0.iter_mut().for_each(|bucket| *bucket += random.draw() % (2 + place));
        total
    };
    (0..=STEPS).map(each).collect()
}

impl Histogram {
    /// Of schema 0, whose buckets double; the first of ours is number 0.
    fn message(self, milliseconds: u64) -> Message {
        let (mut span, mut deltas, mut histogram) = (Message::default(), Message::default(), Message::default());
        span.number(2, self.0.len() as u64);
        let mut before = 0;
        for bucket in self.0 {
            let delta = bucket as i64 - before;
            deltas.varint(((delta << 1) ^ (delta >> 63)) as u64);
            before = bucket as i64;
        }
        histogram.number(1, self.0.iter().sum());
        let sum = self.0.iter().zip([0.75, 1.5, 3.0, 6.0]).map(|(count, middle)| *count as f64 * middle);
        histogram.double(3, sum.sum());
        histogram.bytes(11, &span.0);
        histogram.bytes(12, &deltas.0);
        histogram.number(15, milliseconds);
        histogram
    }
}

/// A message of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn double(&mut self, field: u64, number: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

/// Snappy's block format without any compression: literals of two bytes of length.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut block = Message::default();
    block.varint(bytes.len() as u64);
    for literal in bytes.chunks(1 << 16) {
        block.0.push(61 << 2);
        block.0.extend((literal.len() as u16).wrapping_sub(1).to_le_bytes());
        block.0.extend(literal);
    }
    block.0
}
