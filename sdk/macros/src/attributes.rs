//! What the macros share: documentation as help, and the checks of a function's shape.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, LitInt, LitStr, Meta, Result, ReturnType,
    Token, Type,
};

use crate::limits::{POINTS, check_text};

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
#[derive(Default)]
pub(crate) struct RoleArguments {
    summary: Option<LitStr>,
}

impl syn::parse::Parse for RoleArguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self::default());
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

/// The arguments of the attribute of a role that looks at series.
pub(crate) struct SeriesArguments {
    pub(crate) role: RoleArguments,
    pub(crate) least: LitInt,
    pub(crate) best: LitInt,
    /// `layout = 1`, of a detector.
    pub(crate) layout: Option<LitInt>,
    /// `aligned`, of a detector.
    pub(crate) aligned: Option<Ident>,
}

impl syn::parse::Parse for SeriesArguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        const MISSING: &str = "say how much of a series it wants to see, in points: `least = 20, best = 500`";
        let (mut role, mut least, mut best, mut layout, mut aligned) =
            (RoleArguments::default(), None, None, None, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            if name == "aligned" {
                aligned = Some(name);
            } else {
                input.parse::<Token![=]>()?;
                match name.to_string().as_str() {
                    "summary" => role.summary = Some(input.parse()?),
                    "least" => least = Some(points(input)?),
                    "best" => best = Some(points(input)?),
                    "layout" => layout = Some(points(input)?),
                    _ => {
                        let what = "expected least, best, summary, or of a detector layout or aligned";
                        return Err(Error::new(name.span(), what));
                    }
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = || Error::new(input.span(), MISSING);
        let (least, best) = (least.ok_or_else(missing)?, best.ok_or_else(missing)?);
        if best.base10_parse::<u32>()? < least.base10_parse::<u32>()? {
            return Err(Error::new(best.span(), "`best` is not below `least`"));
        }
        if best.base10_parse::<u32>()? > POINTS {
            return Err(Error::new(best.span(), format!("`best` is at most {POINTS} points")));
        }
        Ok(Self { role, least, best, layout, aligned })
    }
}

/// A whole number of 32 bits.
fn points(input: syn::parse::ParseStream<'_>) -> Result<LitInt> {
    let number: LitInt = input.parse()?;
    number.base10_parse::<u32>()?;
    Ok(number)
}

impl RoleArguments {
    /// The summary, or else the first paragraph of the function's documentation.
    pub(crate) fn summary_of(&self, function: &ItemFn) -> Result<String> {
        let (summary, span) = match &self.summary {
            Some(summary) => (summary.value(), summary.span()),
            None => {
                let first = documentation(&function.attrs).lines().next().unwrap_or_default().to_owned();
                (first, function.sig.ident.span())
            }
        };
        if summary.trim().is_empty() {
            let what = "say in a doc comment what it does: an operator reads it before installing";
            return Err(Error::new(span, what));
        }
        check_text("summary", &summary, span)?;
        Ok(summary)
    }
}

/// Of which a crate has one: an exported macro stands at its root, whatever module the function is in, and there the
/// compiler tells of a second one by this name and the author's lines.
pub(crate) fn one_of(role: &str, function: &ItemFn) -> TokenStream {
    let name = Ident::new(&format!("a_component_has_one_{role}"), function.sig.ident.span());
    quote! {
        #[doc(hidden)]
        #[macro_export]
        macro_rules! #name {
            () => {};
        }
    }
}

/// Refuses secrets to a role that sends nothing.
pub(crate) fn no_secret(role: &str, settings: &Type) -> TokenStream {
    let message = format!("a {role} sends nothing and has no use for a secret");
    quote_spanned! {settings.span()=>
        const _: () = ::std::assert!(!<#settings as ::bellwether_sdk::Settings>::SECRET, #message);
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

/// The types of a function's parameters; of a method's `self` says what would be right.
pub(crate) fn types<'a>(function: &'a ItemFn, expected: &str) -> Result<Vec<&'a Type>> {
    let parameters = function.sig.inputs.iter().map(|parameter| match parameter {
        FnArg::Typed(parameter) => Ok(&*parameter.ty),
        receiver => Err(Error::new_spanned(receiver, expected)),
    });
    parameters.collect()
}

/// The types of a function's parameters and what it returns, if there are so many; else says what shape it should have.
pub(crate) fn shape<'a, const N: usize>(
    function: &'a ItemFn,
    shape: &str,
) -> Result<([&'a Type; N], &'a Type)> {
    let types = types(function, shape)?;
    let types = types.try_into().map_err(|_| Error::new_spanned(&function.sig, shape))?;
    match &function.sig.output {
        ReturnType::Type(_, returned) => Ok((types, &**returned)),
        ReturnType::Default => Err(Error::new(function.sig.ident.span(), shape)),
    }
}
