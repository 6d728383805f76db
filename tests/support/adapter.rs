//! prometheus-adapter, as far as it fills in a template.

/// Fills the template in as prometheus-adapter does for `pods` of a namespace, from its text alone.
pub fn instantiate(template: &str, namespace: &str, pods: &[&str]) -> Result<String, String> {
    let list = pods.join("|");
    let mut instance = String::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("<<") {
        let (action, after) = after.split_once(">>").ok_or("an action without >>")?;
        instance += text;
        instance += &match action.trim() {
            ".LabelMatchers" if pods.len() == 1 => format!("namespace=\"{namespace}\",pod=\"{list}\""),
            ".LabelMatchers" => format!("namespace=\"{namespace}\",pod=~\"{list}\""),
            ".GroupBy" => "pod".to_owned(),
            r#"printf "%q" (index .LabelValuesByName "namespace")"# => format!("\"{namespace}\""),
            r#"printf "%q" (index .LabelValuesByName "pod")"# => format!("\"{list}\""),
            other => return Err(format!("no action of a Pods rule: <<{other}>>")),
        };
        rest = after;
    }
    Ok(instance + rest)
}
