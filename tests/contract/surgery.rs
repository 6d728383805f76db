//! Cut into the text of a template, so that it is wrong in one place.

pub fn replace_first(template: &str, old: &str, new: &str) -> Option<String> {
    template.contains(old).then(|| template.replacen(old, new, 1))
}

pub fn replace_word(template: &str, old: &str, new: &str) -> Option<String> {
    let start = words(template, old).next()?;
    Some(format!("{}{new}{}", &template[..start], &template[start + old.len()..]))
}

/// Takes a label out of the first list `(…)` that has it.
pub fn without_label(template: &str, label: &str) -> Option<String> {
    let is_listed = |start: &usize| {
        let (before, after) = (&template[..*start], &template[start + label.len()..]);
        before.trim_end().ends_with(['(', ',']) && after.trim_start().starts_with([')', ','])
    };
    let start = template.match_indices(label).map(|(start, _)| start).find(is_listed)?;
    let (before, after) = (template[..start].trim_end(), template[start + label.len()..].trim_start());
    Some(match (before.strip_suffix(','), after.strip_prefix(',')) {
        (_, Some(after)) => format!("{before}{after}"),
        (Some(before), None) => format!("{before}{after}"),
        (None, None) => format!("{before}{after}"),
    })
}

/// Takes a matcher out of the first braces that have it.
pub fn without_matcher(template: &str, matcher: &str) -> Option<String> {
    let (before, after) = template.split_once(matcher)?;
    Some(match (before.strip_suffix(','), after.strip_prefix(',')) {
        (_, Some(after)) => format!("{before}{after}"),
        (before_comma, None) => format!("{}{after}", before_comma.unwrap_or(before)),
    })
}

pub struct Call<'a> {
    pub before: &'a str,
    pub arguments: &'a str,
    pub after: &'a str,
}

/// The first call of a function.
pub fn call<'a>(template: &'a str, function: &str) -> Option<Call<'a>> {
    let start = words(template, function).next()?;
    let rest = template[start + function.len()..].trim_start();
    let after = after_operand(rest);
    let arguments = rest[..rest.len() - after.len()].trim_end().strip_prefix('(')?.strip_suffix(')')?;
    Some(Call { before: &template[..start], arguments, after })
}

/// What follows the first parentheses of `text`.
pub fn after_operand(text: &str) -> &str {
    let mut depth = 0;
    for (index, char) in outside_strings(text) {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return &text[index + 1..];
        }
    }
    ""
}

/// Where `word` stands as a whole, outside strings.
pub fn words(text: &str, word: &str) -> impl Iterator<Item = usize> {
    let in_word = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    outside_strings(text).map(|(index, _)| index).filter(move |index| {
        let (before, rest) = text.split_at(*index);
        rest.strip_prefix(word).is_some_and(|after| !before.ends_with(in_word) && !after.starts_with(in_word))
    })
}

fn outside_strings(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().filter(move |(_, char)| match quote {
        None => {
            quote = matches!(char, '"' | '\'' | '`').then_some(*char);
            quote.is_none()
        }
        Some(open) => {
            if *char == open && !escaped {
                quote = None;
            }
            escaped = *char == '\\' && !escaped;
            false
        }
    })
}
