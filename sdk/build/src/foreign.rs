//! Imports that no host answers, and who brought them: a module that has some cannot become a plugin.

use std::path::Path;

use crate::command::{cargo, read};
use crate::toolchain::TARGET;

/// The crate that is known to bring an import, if one is.
fn culprit(module: &str, name: &str) -> Option<&'static str> {
    let any = |text: &str| module.starts_with(text) || name.starts_with(text);
    if any("__wbindgen") || any("__wbg_") { Some("wasm-bindgen") } else { None }
}

/// Why a module cannot become a plugin, with whatever helps to find out who made it so.
pub(crate) fn accusation(package: &str, foreign: &[(String, String)], dependents: &str) -> String {
    let mut text = format!("{package} imports what no host answers:\n");
    for (module, name) in foreign.iter().take(5) {
        text += &format!("  {name} of {module:?}\n");
    }
    if foreign.len() > 5 {
        text += &format!("  and {} more\n", foreign.len() - 5);
    }
    text += match foreign.iter().find_map(|(module, name)| culprit(module, name)) {
        Some(culprit) => format!(
            "The crate {culprit} brings such imports: it expects a browser. Who depends on it:\n{dependents}\n\
             Most crates have a feature for it (`js`, `wasmbind`) that can be left out."
        ),
        None if foreign.iter().any(|(module, _)| module.starts_with("wasi")) => {
            format!("WASI's imports come of building for another target than {TARGET}.")
        }
        None => "An `extern` block, or C code that was not built along, leaves such imports.".to_owned(),
    }
    .as_str();
    text
}

/// How the package comes to depend on the culprit, as `cargo tree` draws it.
pub(crate) fn dependents_of(folder: &Path, package: &str, foreign: &[(String, String)]) -> String {
    let Some(culprit) = foreign.iter().find_map(|(module, name)| culprit(module, name)) else {
        return String::new();
    };
    let mut tree = cargo(folder);
    tree.args(["tree", "--package", package, "--target", TARGET, "--edges", "normal", "--invert", culprit]);
    // Without the drawing the accusation still names the crate.
    read(&mut tree).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(module: &str, name: &str) -> Vec<(String, String)> {
        vec![(module.to_owned(), name.to_owned())]
    }

    #[test]
    fn whoever_made_a_module_unfit_is_named() {
        let browser = one("__wbindgen_placeholder__", "__wbindgen_throw");
        let text = accusation("bellwether-plugin-x", &browser, "wasm-bindgen v0.2\n└── chrono v0.4");
        for expected in ["bellwether-plugin-x", "__wbindgen_throw", "The crate wasm-bindgen", "chrono v0.4"] {
            assert!(text.contains(expected), "{text}");
        }
        let wasi = one("wasi_snapshot_preview1", "fd_write");
        assert!(accusation("x", &wasi, "").contains("another target"));
        let mut many = one("env", "open");
        many.extend((0..9).map(|number| ("env".to_owned(), format!("f{number}"))));
        let text = accusation("x", &many, "");
        assert!(text.contains("open") && text.contains("and 5 more") && text.contains("C code"), "{text}");
    }
}
