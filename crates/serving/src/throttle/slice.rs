//! Which Pods of a revision an activator uses when several activators share them (serving
//! `pkg/activator/net/throttler.go`, `assignSlice`).

/// The share of `pods` (sorted by address) that activator number `index` of `activators` uses.
///
/// All of them when the activator does not know its index, is alone, or there is at most one Pod.
/// With more activators than Pods, one Pod each; else equal runs, and the remnants at the end of
/// the list one each to the first activators.
pub fn assign_slice<T: Clone>(pods: &[T], index: Option<usize>, activators: usize) -> Vec<T> {
    let Some(index) = index else {
        return pods.to_vec();
    };
    if activators <= 1 || pods.len() <= 1 {
        return pods.to_vec();
    }
    if activators > pods.len() {
        return vec![pods[index % pods.len()].clone()];
    }
    let (share, remnants) = (pods.len() / activators, pods.len() % activators);
    let index = index % activators;
    let mut assigned = pods[index * share..(index + 1) * share].to_vec();
    if index < remnants {
        assigned.push(pods[pods.len() - remnants + index].clone());
    }
    assigned
}
