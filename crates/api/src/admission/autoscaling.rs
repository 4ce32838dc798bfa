//! The autoscaling annotations of a revision template. The rules of Knative's
//! `pkg/apis/autoscaling/annotation_validation.go`.

use serde_json::Value;

use super::errors::Errors;
use crate::annotation::autoscaling::{
    ACTIVATION_SCALE, AGGREGATION, CLASS, INITIAL_SCALE, MAX_SCALE, METRIC, MIN_SCALE,
    PANIC_THRESHOLD, PANIC_WINDOW, POD_RETENTION, SCALE_DOWN_DELAY, TARGET, TARGET_BURST_CAPACITY,
    TARGET_UTILIZATION, WINDOW,
};
use crate::annotation::{Key, get};
use crate::config::Autoscaler;
use crate::config::autoscaler::{HPA, KPA, TARGET_MIN, WINDOW_MAX, WINDOW_MIN};
use crate::gotext::{Nanos, format_duration, parse_duration, parse_float, parse_int};

const GROUP: &str = "autoscaling.knative.dev";
const OWN_CLASSES: &str = ".knative.dev";
const MOST: i64 = i32::MAX as i64;
const SECOND: Nanos = 1_000_000_000;

/// Checks the autoscaling annotations of an object; paths are seen from its annotations.
pub(super) fn validate(object: &Value, config: &Autoscaler) -> Errors {
    validate_class(object)
        .also(validate_scales(object, config))
        .also(validate_floats(object))
        .also(validate_windows(object))
        .also(validate_metric(object))
        .also(validate_aggregation(object))
        .also(validate_initial_scale(object, config))
}

/// Refuses autoscaling annotations where they have no effect.
pub(super) fn refuse(object: &Value) -> Errors {
    let why = "autoscaling annotations must be put under \"spec.template.metadata.annotations\" \
               to work";
    let keys = crate::annotation::annotations(object).into_iter().flatten();
    keys.filter(|(key, _)| key.starts_with(GROUP))
        .fold(Errors::NONE, |errors, (key, _)| {
            errors.also(Errors::invalid_key(key, "", why))
        })
}

fn validate_class(object: &Value) -> Errors {
    match get(object, CLASS) {
        Some((key, class)) if class.ends_with(OWN_CLASSES) && class != KPA && class != HPA => {
            Errors::invalid(class, key)
        }
        _ => Errors::NONE,
    }
}

/// A number of at least zero; 0 when it is missing or wrong.
fn scale(object: &Value, key: &Key, errors: &mut Errors) -> i64 {
    let Some((key, text)) = get(object, key) else {
        return 0;
    };
    match parse_int(text, 32) {
        Ok(scale) if scale >= 0 => return scale,
        Err(error) if !error.ends_with("value out of range") => {
            errors.add(Errors::invalid(text, key));
        }
        _ => errors.add(Errors::out_of_bounds(text, 0, MOST, key)),
    }
    0
}

fn validate_scales(object: &Value, config: &Autoscaler) -> Errors {
    let mut errors = Errors::NONE;
    let min = scale(object, MIN_SCALE, &mut errors);
    let max = scale(object, MAX_SCALE, &mut errors);
    if max != 0 && max < min {
        let message = format!("max-scale={max} is less than min-scale={min}");
        errors.add(Errors::new(message, &[MAX_SCALE[0], MIN_SCALE[0]]));
    }
    if let Some((key, _)) = get(object, MAX_SCALE) {
        errors.add(validate_limit(key, max, i64::from(config.max_scale_limit)));
    }
    let Some((key, text)) = get(object, ACTIVATION_SCALE) else {
        return errors;
    };
    let complaint = match parse_int(text, 32) {
        Err(_) => return errors.also(Errors::invalid(text, key)),
        Ok(scale) if min > scale => {
            format!("min-scale={min} is greater than activation-scale={scale}")
        }
        Ok(scale) if max != 0 && max < scale => {
            format!("max-scale={max} is less than activation-scale={scale}")
        }
        Ok(scale) if scale < 2 => format!("activation-scale={scale} must be greater than 1"),
        Ok(_) => return errors,
    };
    errors.also(Errors::new(complaint, &[key]))
}

fn validate_limit(key: &str, max: i64, limit: i64) -> Errors {
    if limit == 0 {
        Errors::NONE
    } else if max > limit {
        Errors::out_of_bounds(max, 1, limit, key)
    } else if max == 0 {
        Errors::new(
            format!("max-scale=0 (unlimited), must be less than {limit}"),
            &[key],
        )
    } else {
        Errors::NONE
    }
}

fn validate_floats(object: &Value) -> Errors {
    let mut errors = Errors::NONE;
    let bounds: [(&Key, i32, i32); 3] = [
        (PANIC_WINDOW, 1, 100),
        (PANIC_THRESHOLD, 110, 1000),
        (TARGET_UTILIZATION, 1, 100),
    ];
    for (key, least, most) in bounds {
        let Some((key, text)) = get(object, key) else {
            continue;
        };
        match parse_float(text) {
            Err(_) => errors.add(Errors::invalid(text, key)),
            Ok(value) if value < f64::from(least) || value > f64::from(most) => {
                errors.add(Errors::out_of_bounds(text, least, most, key));
            }
            Ok(_) => {}
        }
    }
    if let Some((key, text)) = get(object, TARGET) {
        match parse_float(text) {
            Err(_) => errors.add(Errors::invalid(text, key)),
            Ok(target) if target < TARGET_MIN => {
                let message = format!("target {text} should be at least {TARGET_MIN}");
                errors.add(Errors::new(message, &[key]));
            }
            Ok(_) => {}
        }
    }
    match get(object, TARGET_BURST_CAPACITY) {
        Some((key, text)) if !parse_float(text).is_ok_and(|v| !(v < 0.0 && v != -1.0)) => {
            errors.also(Errors::invalid(text, key))
        }
        _ => errors,
    }
}

fn validate_windows(object: &Value) -> Errors {
    span(object, WINDOW, WINDOW_MIN, true)
        .also(span(object, POD_RETENTION, 0, false))
        .also(span(object, SCALE_DOWN_DELAY, 0, true))
}

/// Checks a span of `least` to an hour, of whole seconds where that matters.
fn span(object: &Value, key: &Key, least: Nanos, whole_seconds: bool) -> Errors {
    let Some((key, text)) = get(object, key) else {
        return Errors::NONE;
    };
    match parse_duration(text) {
        Err(_) => Errors::invalid(text, key),
        Ok(span) if span < least || span > WINDOW_MAX => {
            let (least, most) = (format_duration(least), format_duration(WINDOW_MAX));
            Errors::out_of_bounds(text, least, most, key)
        }
        Ok(span) if whole_seconds && span % SECOND != 0 => {
            Errors::new("must be specified with at most second precision", &[key])
        }
        Ok(_) => Errors::NONE,
    }
}

fn validate_metric(object: &Value) -> Errors {
    let Some((key, metric)) = get(object, METRIC) else {
        return Errors::NONE;
    };
    let class = get(object, CLASS).map_or(KPA, |(_, class)| class);
    let known = match class {
        KPA => matches!(metric, "concurrency" | "rps"),
        HPA => !metric.is_empty(),
        _ => true,
    };
    if known {
        Errors::NONE
    } else {
        Errors::invalid(metric, key)
    }
}

fn validate_aggregation(object: &Value) -> Errors {
    let explicitly_kpa = get(object, CLASS).is_some_and(|(_, class)| class == KPA);
    match get(object, AGGREGATION) {
        Some((_, "" | "linear" | "weighted-exponential" | "weightedExponential")) => Errors::NONE,
        Some((key, algorithm)) if explicitly_kpa => Errors::invalid(algorithm, key),
        _ => Errors::NONE,
    }
}

fn validate_initial_scale(object: &Value, config: &Autoscaler) -> Errors {
    let Some((key, text)) = get(object, INITIAL_SCALE) else {
        return Errors::NONE;
    };
    match parse_int(text, 64) {
        Err(_) => Errors::invalid(text, key),
        Ok(scale) if scale < 0 => Errors::invalid(text, &format!("{key} must be greater than 0")),
        Ok(0) if !config.allow_zero_initial_scale => {
            Errors::invalid(text, &format!("{key}=0 not allowed by cluster"))
        }
        Ok(_) => Errors::NONE,
    }
}
