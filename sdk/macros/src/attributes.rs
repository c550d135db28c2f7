//! What the macros share: documentation as help, and the checks of a function's shape.

use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, Ident, ItemFn, Lit, LitStr, Meta, Result, Token};

/// The doc comments of an item as one line per paragraph.
pub(crate) fn documentation(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &pair.value else { continue };
        if !pair.path.is_ident("doc") {
            continue;
        }
        match line.value().trim() {
            "" => text.push('\n'),
            line => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push(' ');
                }
                text.push_str(line);
            }
        }
    }
    text.trim().to_owned()
}

/// The arguments of a role's attribute: nothing, or `summary = "…"`.
pub(crate) struct RoleArguments {
    summary: Option<LitStr>,
}

impl syn::parse::Parse for RoleArguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { summary: None });
        }
        let name: Ident = input.parse()?;
        if name != "summary" {
            return Err(Error::new(name.span(), "expected `summary = \"…\"`, or nothing"));
        }
        input.parse::<Token![=]>()?;
        let summary = input.parse()?;
        if !input.is_empty() {
            return Err(input.error("expected nothing after the summary"));
        }
        Ok(Self { summary: Some(summary) })
    }
}

impl RoleArguments {
    /// The summary, or else the first paragraph of the function's documentation.
    pub(crate) fn summary_of(&self, function: &ItemFn) -> Result<String> {
        let summary = match &self.summary {
            Some(summary) => summary.value(),
            None => documentation(&function.attrs).lines().next().unwrap_or_default().to_owned(),
        };
        if summary.trim().is_empty() {
            let what = "say in a doc comment what it does: an operator reads it before installing";
            return Err(Error::new(function.sig.ident.span(), what));
        }
        Ok(summary)
    }
}

/// Refuses what no role can be.
pub(crate) fn plain_function(function: &ItemFn, role: &str) -> Result<()> {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        let what = format!("{role} cannot be async: every host call waits for its answer");
        return Err(Error::new(asyncness.span(), what));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new(variadic.span(), format!("{role} takes no variable arguments")));
    }
    Ok(())
}
