//! The registry of codes: what each is called, how severe it is, and when it is raised.

use std::fmt;

/// How much a finding weighs: an error stops the plan, a warning does not, a note is shown by `explain` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Declares the codes. A code that appeared in a release keeps its meaning for ever and is never reused.
macro_rules! codes {
    ($($name:ident $text:literal $severity:ident $title:literal;)*) => {
        /// A stable name for one kind of finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

codes! {
    Ns0101 "NS0101" Error "an unknown key under nimscale.dev/";
    Ns0102 "NS0102" Warning "a key whose domain is nearly nimscale.dev";
    Ns0103 "NS0103" Warning "a key where it has no effect";
    Ns0104 "NS0104" Error "an annotation that YAML does not read as a string";
    Ns0106 "NS0106" Error "an annotation that is empty or holds only comments";
    Ns0107 "NS0107" Error "two metrics with one name";
    Ns0108 "NS0108" Error "a field that is stated twice";
    Ns0109 "NS0109" Error "a character that is not allowed here";
    Ns0110 "NS0110" Warning "modifying keys without a key that declares a workload";
    Ns0111 "NS0111" Error "a malformed range";
    Ns0112 "NS0112" Error "a range that is not first, or a second one";
    Ns0113 "NS0113" Error "a word that scale does not know";
    Ns0114 "NS0114" Error "an unknown preset";
    Ns0115 "NS0115" Error "PromQL in scale";
    Ns0116 "NS0116" Error "off or auto beside other words";
    Ns0121 "NS0121" Error "a malformed name in keep";
    Ns0122 "NS0122" Error "a tab in the indentation of an entry";
    Ns0123 "NS0123" Error "a preset's name in keep";
    Ns0124 "NS0124" Error "an entry without a comparison";
    Ns0125 "NS0125" Error "a target on the wrong side";
    Ns0126 "NS0126" Error "a comparison that is not <";
    Ns0127 "NS0127" Error "< bool in keep";
    Ns0128 "NS0128" Error "two comparisons in one entry";
    Ns0129 "NS0129" Error "and, or, unless beside a comparison";
    Ns0130 "NS0130" Error "a right side that is not one number";
    Ns0131 "NS0131" Error "a number that is not a plain decimal";
    Ns0132 "NS0132" Error "a suffix that is not read here";
    Ns0133 "NS0133" Error "a separator that does not separate";
    Ns0134 "NS0134" Error "an empty side of <";
    Ns0135 "NS0135" Error "a list dash in front of an entry";
    Ns0141 "NS0141" Error "a spec that is not YAML";
    Ns0142 "NS0142" Error "an unknown field in spec";
    Ns0143 "NS0143" Error "a value in spec that is of another type, or out of range";
    Ns0144 "NS0144" Error "a metric in spec without what makes one";
    Ns0145 "NS0145" Error "an anchor, alias, tag, merge key or repeated key in spec";
    Ns0151 "NS0151" Error "a malformed behavior";
    Ns0152 "NS0152" Error "a malformed paused";
    Ns0153 "NS0153" Error "a malformed mode, policy or adopt-hpa";
    Ns0161 "NS0161" Error "a file that is not YAML or JSON";
    Ns0162 "NS0162" Warning "template text in a manifest";
    Ns0163 "NS0163" Error "a key that stands twice in one mapping";
    Ns0199 "NS0199" Error "a key or field that this version does not do yet";
    Ns0201 "NS0201" Error "min over max";
    Ns0202 "NS0202" Error "a minimum of 0";
    Ns0203 "NS0203" Error "max over the ceiling";
    Ns0204 "NS0204" Warning "min equal to max";
    Ns0205 "NS0205" Error "more GPUs than a policy allows";
    Ns0206 "NS0206" Error "too many metrics";
    Ns0207 "NS0207" Error "annotations over the API's limit";
    Ns0208 "NS0208" Error "an expression where a policy allows presets only";
    Ns0209 "NS0209" Error "a metric that a policy denies";
    Ns0211 "NS0211" Error "a target that is not above 0";
    Ns0212 "NS0212" Error "a target that the HPA cannot count";
    Ns0213 "NS0213" Error "a ratio target at or over its top";
    Ns0214 "NS0214" Error "a unit that is missing or another's";
    Ns0215 "NS0215" Error "a preset without a default target";
    Ns0216 "NS0216" Warning "a ratio target that the HPA's tolerance never lets it pass";
    Ns0217 "NS0217" Warning "a latency target between bucket edges, or of a preset over the top";
    Ns0218 "NS0218" Error "value, which needs one level for the workload";
    Ns0221 "NS0221" Warning "a value that a policy's limit lowered";
    Ns0222 "NS0222" Warning "a policy that does not exist";
    Ns0223 "NS0223" Warning "two policies of one priority";
    Ns0224 "NS0224" Error "an invalid policy";
    Ns0301 "NS0301" Error "not PromQL";
    Ns0311 "NS0311" Warning "rate, irate or increase over a gauge";
    Ns0312 "NS0312" Error "delta, idelta or deriv on a counter";
    Ns0313 "NS0313" Error "a quantile over buckets that lost le";
    Ns0314 "NS0314" Warning "a window of less than four scrapes";
    Ns0315 "NS0315" Warning "a long rate window";
    Ns0316 "NS0316" Warning "irate, which follows every spike";
    Ns0317 "NS0317" Warning "a counter without rate";
    Ns0318 "NS0318" Warning "a quantile over gauges";
    Ns0319 "NS0319" Warning "a rate of an aggregation";
    Ns0320 "NS0320" Error "no value per pod or per workload";
    Ns0321 "NS0321" Error "several samples per pod and no default aggregator";
    Ns0322 "NS0322" Error "vector() in a per-pod expression";
    Ns0323 "NS0323" Error "absent() or absent_over_time()";
    Ns0324 "NS0324" Error "topk across pods";
    Ns0330 "NS0330" Error "operands that disagree on the pod label";
    Ns0331 "NS0331" Error "operands whose labels can never be equal";
    Ns0332 "NS0332" Error "or whose key lacks the pod label";
    Ns0333 "NS0333" Error "group_left or group_right that copies pod or namespace";
    Ns0334 "NS0334" Error "a match that works with one pod and fails with two";
    Ns0340 "NS0340" Error "a matcher on another namespace";
    Ns0341 "NS0341" Error "a computed pod or namespace label";
    Ns0342 "NS0342" Error "a selector without a literal metric name";
    Ns0343 "NS0343" Note "a redundant matcher on the own namespace";
    Ns0344 "NS0344" Warning "a matcher that limits the metric to some pods";
    Ns0345 "NS0345" Error "a matcher that names pods";
    Ns0350 "NS0350" Error "a fixed @ timestamp";
    Ns0360 "NS0360" Error "a number that reads otherwise than it looks";
    Ns0361 "NS0361" Error "a function or syntax newer than the dialect, or experimental";
    Ns0362 "NS0362" Error "a limit of one expression";
    Ns0363 "NS0363" Error "legal PromQL that this version does not compile yet";
    Ns0370 "NS0370" Warning "a comparison that drops pods";
    Ns0371 "NS0371" Note "a division without a guard";
    Ns0372 "NS0372" Note "an average of per-pod values that is not the fleet's value";
    Ns0373 "NS0373" Warning "a total that is read as N per replica";
    Ns0374 "NS0374" Warning "or vector(k), which hides that a series is gone";
    Ns0375 "NS0375" Warning "a target that the metric never reaches";
    Ns0376 "NS0376" Note "sort, which has no effect";
    Ns0377 "NS0377" Warning "a sum that is read as a level";
    Ns0401 "NS0401" Warning "spec.replicas in the manifest of a scaled workload";
    Ns0402 "NS0402" Warning "replicas kept as the HPA chose them";
    Ns0403 "NS0403" Warning "replicas raised to the minimum";
    Ns0404 "NS0404" Warning "keys removed from a scaled workload";
    Ns0405 "NS0405" Warning "live replicas outside of a new range";
    Ns0411 "NS0411" Error "another HPA on the workload";
    Ns0412 "NS0412" Error "pods that another HPA's target selects too";
    Ns0413 "NS0413" Error "an HPA that may not be adopted";
    Ns0416 "NS0416" Error "an author without the right to create HPAs";
    Ns0421 "NS0421" Warning "a NIMService that sets its replicas";
    Ns0422 "NS0422" Warning "a NIMService with an HPA of its own";
    Ns0423 "NS0423" Warning "a workload that another controller owns";
    Ns0424 "NS0424" Warning "a key that NIM Operator overwrites";
    Ns0436 "NS0436" Error "one value for a workload whose pods' names Kubernetes cuts";
    Ns0441 "NS0441" Warning "presets without a value for the workload";
    Ns0501 "NS0501" Error "an adapter config that does not load";
    Ns0502 "NS0502" Warning "a rule of ours that was left out";
    Ns0503 "NS0503" Error "an adapter config that somebody reverts";
    Ns0504 "NS0504" Error "a metrics API that another server answers";
    Ns0505 "NS0505" Error "a roll of the adapter that failed";
    Ns0506 "NS0506" Warning "an adapter config near its size limit";
    Ns0507 "NS0507" Error "an adapter that reads another config";
    Ns0508 "NS0508" Warning "an adapter that started before the last write";
    Ns0511 "NS0511" Warning "an anchor that Prometheus does not scrape";
    Ns0512 "NS0512" Warning "a metric that the API does not list";
    Ns0513 "NS0513" Warning "a metric without a value for the workload";
    Ns0515 "NS0515" Error "a Prometheus that does not answer";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }
}
