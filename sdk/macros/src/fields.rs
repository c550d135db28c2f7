//! `#[derive(Inputs)]`, `#[derive(Outputs)]` and `#[derive(Settings)]`: a struct's fields become what a role takes and
//! gives.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, Result, Token, Type};

use crate::attributes::documentation;
use crate::limits::{check_count, check_name, check_text};

/// One field and what its attribute says.
struct Member<'a> {
    identifier: &'a Ident,
    value_type: &'a Type,
    name: String,
    help: String,
    secret: bool,
    choices: Vec<LitStr>,
    /// Where the choices stand.
    choices_span: Option<Span>,
    default: Option<Expr>,
}

/// What differs between inputs and settings.
struct Declared {
    attribute: &'static str,
    derive: &'static str,
    /// The trait that is implemented, and the error its reader gives.
    implements: TokenStream,
    error: TokenStream,
    /// Where what the reader calls is.
    expanded: TokenStream,
    /// What is said of a field that is a secret by its type; nothing if it may be one, which the trait then tells.
    no_secret: Option<&'static str>,
}

pub(crate) fn inputs(item: &DeriveInput) -> Result<TokenStream> {
    let declared = Declared {
        attribute: "input",
        derive: "#[derive(Inputs)]",
        implements: quote!(::bellwether_sdk::Inputs),
        error: quote!(::bellwether_sdk::AppError),
        expanded: quote!(::bellwether_sdk::app::expanded),
        no_secret: Some(
            "an app is given a secret's text: make the input a String, with #[input(secret)] on it",
        ),
    };
    declared_by(item, &declared, &quote!(::std::result::Result::Ok))
}

pub(crate) fn settings(item: &DeriveInput) -> Result<TokenStream> {
    let declared = Declared {
        attribute: "setting",
        derive: "#[derive(Settings)]",
        implements: quote!(::bellwether_sdk::Settings),
        error: quote!(::bellwether_sdk::SettingError),
        expanded: quote!(::bellwether_sdk::settings_expanded),
        no_secret: None,
    };
    let mut check = quote!(::bellwether_sdk::settings_expanded::unchecked);
    for found in item.attrs.iter().filter(|found| found.path().is_ident("settings")) {
        found.parse_nested_meta(|meta| {
            if !meta.path.is_ident("check") {
                return Err(meta.error("expected check = <function>"));
            }
            let function: Expr = meta.value()?.parse()?;
            check = quote!(#function);
            Ok(())
        })?;
    }
    let checked = quote_spanned! {check.span()=>
        (|read: Self| -> ::std::result::Result<Self, ::bellwether_sdk::SettingError> {
            let check: fn(&Self) -> ::std::result::Result<(), ::bellwether_sdk::SettingError> = #check;
            check(&read)?;
            ::std::result::Result::Ok(read)
        })
    };
    declared_by(item, &declared, &checked)
}

fn declared_by(item: &DeriveInput, declared: &Declared, finish: &TokenStream) -> Result<TokenStream> {
    let Declared { attribute, derive, implements, error, expanded, no_secret } = declared;
    let members = members(item, attribute, derive)?;
    let identifier = &item.ident;
    let mut described = Vec::new();
    let mut read = Vec::new();
    for member in &members {
        let Member { identifier, value_type, name, help, secret, choices, choices_span, default } = member;
        let span = value_type.span();
        let default = default.as_ref().map(|default| default_of(default, value_type));
        let default_value = match &default {
            None => quote!(::std::option::Option::None),
            Some(default) => {
                quote_spanned!(span=> ::std::option::Option::Some(&::bellwether_sdk::IntoValue::into_value(#default)))
            }
        };
        // An item is checked by `cargo check` too, but may not name the struct's parameters.
        let constant = |span: Span, check: TokenStream| match item.generics.params.is_empty() {
            true => quote_spanned!(span=> const _: () = #check;),
            false => quote_spanned!(span=> const { #check };),
        };
        let texts = choices_span.map(|span| {
            let message = format!(
                "choices are texts: the {attribute} is to be a String, a Vec<String> or an Option of one"
            );
            constant(
                span,
                quote_spanned! {span=> {
                    ::std::assert!(
                        #expanded::holds_texts(<#value_type as ::bellwether_sdk::FromValue>::TYPE),
                        #message
                    );
                    ::std::assert!(
                        !<#value_type as ::bellwether_sdk::FromValue>::SECRET,
                        "a secret is whatever its user keeps: it has no choices"
                    );
                }},
            )
        });
        let no_secret = no_secret.map(|message| {
            let check = quote_spanned! {span=>
                ::std::assert!(!<#value_type as ::bellwether_sdk::FromValue>::SECRET, #message)
            };
            constant(span, check)
        });
        described.push(quote_spanned! {span=> {
            #texts
            #no_secret
            #expanded::input::<#value_type>(#name, #help, #secret, &[#(#choices),*], #default_value)
        }});
        let value = quote_spanned! {span=>
            #expanded::read::<#value_type>(#name, #secret, &[#(#choices),*], value)?
        };
        let value = match default {
            None => value,
            Some(default) => {
                quote!(match value { ::bellwether_sdk::Value::None => #default, value => #value })
            }
        };
        read.push(quote! {
            #identifier: {
                let value = #expanded::take(&mut values, #name);
                #value
            }
        });
    }
    let told = no_secret.is_none().then(|| {
        let all = members.iter().map(|member| member.value_type);
        let open = members.iter().filter(|member| member.default.is_none()).map(|member| member.value_type);
        quote! {
            const SECRET: bool = false #(|| <#all as ::bellwether_sdk::FromValue>::SECRET)*;
            const REQUIRED: bool = false #(|| !<#open as ::bellwether_sdk::FromValue>::OPTIONAL)*;
        }
    });
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    Ok(quote! {
        impl #generics #implements for #identifier #arguments #bounds {
            #told

            fn describe() -> ::std::vec::Vec<::bellwether_sdk::app::Input> {
                ::std::vec![#(#described),*]
            }

            fn read(
                mut values: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
            ) -> ::std::result::Result<Self, #error> {
                let _ = &mut values;
                #finish(Self { #(#read),* })
            }
        }
    })
}

pub(crate) fn outputs(item: &DeriveInput) -> Result<TokenStream> {
    let members = members(item, "output", "#[derive(Outputs)]")?;
    let identifier = &item.ident;
    let described = members.iter().map(|Member { value_type, name, help, .. }| {
        quote_spanned!(value_type.span()=> ::bellwether_sdk::app::expanded::output::<#value_type>(#name, #help))
    });
    let written = members.iter().map(|Member { identifier, value_type, name, .. }| {
        quote_spanned!(value_type.span()=> ::bellwether_sdk::app::expanded::write(#name, self.#identifier))
    });
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    Ok(quote! {
        impl #generics ::bellwether_sdk::Outputs for #identifier #arguments #bounds {
            fn describe() -> ::std::vec::Vec<::bellwether_sdk::app::Output> {
                ::std::vec![#(#described),*]
            }

            fn write(self) -> ::std::vec::Vec<::bellwether_sdk::NamedValue> {
                ::std::vec![#(#written),*]
            }
        }
    })
}

/// A default as an expression of the field's type. A text literal may stand for whatever is made from one.
fn default_of(default: &Expr, value_type: &Type) -> TokenStream {
    let value = match default {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            quote_spanned!(text.span()=> ::std::convert::Into::into(#text))
        }
        other => quote!(#other),
    };
    quote_spanned! {default.span()=> { let default: #value_type = #value; default } }
}

fn members<'a>(item: &'a DeriveInput, attribute: &str, derive: &str) -> Result<Vec<Member<'a>>> {
    let Data::Struct(data) = &item.data else {
        return Err(Error::new(item.ident.span(), format!("{derive} goes on a struct")));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(item.ident.span(), format!("{derive} needs fields with names")));
    };
    check_count(attribute, fields.named.len(), item.ident.span())?;
    let members: Vec<Member<'a>> =
        fields.named.iter().map(|field| member(field, attribute)).collect::<Result<_>>()?;
    for (index, member) in members.iter().enumerate() {
        if members[..index].iter().any(|earlier| earlier.name == member.name) {
            let what = format!("there is an {attribute} {:?} already", member.name);
            return Err(Error::new(member.identifier.span(), what));
        }
    }
    Ok(members)
}

fn member<'a>(field: &'a Field, attribute: &str) -> Result<Member<'a>> {
    let identifier = field.ident.as_ref().expect("a named field");
    let mut member = Member {
        identifier,
        value_type: &field.ty,
        name: identifier.unraw().to_string(),
        help: documentation(&field.attrs),
        secret: false,
        choices: Vec::new(),
        choices_span: None,
        default: None,
    };
    let takes_more = attribute != "output";
    let (mut name_span, mut help_span) = (identifier.span(), identifier.span());
    // A setting is a secret by its type, so that its text cannot be held by mistake.
    let takes_secret = attribute == "input";
    for found in field.attrs.iter().filter(|found| found.path().is_ident(attribute)) {
        found.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                let name: LitStr = meta.value()?.parse()?;
                (member.name, name_span) = (name.value(), name.span());
            } else if meta.path.is_ident("help") {
                let help: LitStr = meta.value()?.parse()?;
                (member.help, help_span) = (help.value(), help.span());
            } else if takes_secret && meta.path.is_ident("secret") {
                member.secret = true;
            } else if takes_more && meta.path.is_ident("default") {
                member.default = Some(meta.value()?.parse()?);
            } else if takes_more && meta.path.is_ident("choices") {
                let texts;
                syn::parenthesized!(texts in meta.input);
                member.choices_span = Some(meta.path.span());
                member.choices =
                    Punctuated::<LitStr, Token![,]>::parse_terminated(&texts)?.into_iter().collect();
                if member.choices.is_empty() {
                    return Err(meta.error("`choices` names at least one text"));
                }
                let mut known = HashSet::new();
                if let Some(again) = member.choices.iter().find(|choice| !known.insert(choice.value())) {
                    let what = format!("there is a choice {:?} already", again.value());
                    return Err(Error::new(again.span(), what));
                }
            } else {
                let known = match (takes_more, takes_secret) {
                    (_, true) => "name, help, default, choices or secret",
                    (true, false) => "name, help, default or choices; a secret is a field of the type Secret",
                    (false, false) => "name or help",
                };
                return Err(meta.error(format!("expected {known}")));
            }
            Ok(())
        })?;
    }
    check_name(&member.name, name_span)?;
    check_text("help", &member.help, help_span)?;
    check(&member)?;
    Ok(member)
}

/// What no host would take.
fn check(member: &Member<'_>) -> Result<()> {
    let Some(default) = &member.default else { return Ok(()) };
    if let Type::Path(path) = member.value_type
        && path.path.segments.last().is_some_and(|last| last.ident == "Option")
    {
        return Err(Error::new(default.span(), "what has a default is never absent: drop the Option"));
    }
    if member.secret {
        return Err(Error::new(
            default.span(),
            "a secret's default would stand in the component for all to read",
        ));
    }
    if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = default
        && number.base10_digits().parse::<i64>().is_err()
    {
        let what = format!("the default is {}, expected at most {}", number.base10_digits(), i64::MAX);
        return Err(Error::new(number.span(), what));
    }
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = default
        && !member.choices.is_empty()
        && !member.choices.iter().any(|choice| choice.value() == text.value())
    {
        return Err(Error::new(text.span(), "the default is none of the choices"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_wrong_attribute_is_refused_with_what_would_be_right() {
        let long = "x".repeat(4097);
        let many = (0..201).map(|at| Ident::new(&format!("input_{at}"), Span::call_site()));
        let cases: [(DeriveInput, &str); 15] = [
            (
                parse_quote!(
                    enum In {
                        A,
                    }
                ),
                "goes on a struct",
            ),
            (
                parse_quote!(
                    struct In(String);
                ),
                "fields with names",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(requird)]
                        a: String,
                    }
                ),
                "expected name, help, default, choices or secret",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(default = 1)]
                        a: Option<i64>,
                    }
                ),
                "drop the Option",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(secret, default = "x")]
                        a: String,
                    }
                ),
                "for all to read",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(choices("a"), default = "b")]
                        a: String,
                    }
                ),
                "none of the choices",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(choices())]
                        a: String,
                    }
                ),
                "at least one text",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(choices("a", "b", "a"))]
                        a: String,
                    }
                ),
                "there is a choice \"a\" already",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(default = 9_223_372_036_854_775_808)]
                        a: u64,
                    }
                ),
                "the default is 9223372036854775808, expected at most 9223372036854775807",
            ),
            (
                parse_quote!(
                    struct In {
                        a: String,
                        #[input(name = "a")]
                        b: String,
                    }
                ),
                "there is an input \"a\" already",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(name = "")]
                        a: String,
                    }
                ),
                "the name is \"\", expected 1 to 64 characters of A-Z",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(name = "two words")]
                        a: String,
                    }
                ),
                "the name is \"two words\"",
            ),
            (
                parse_quote!(
                    struct In {
                        größe: String,
                    }
                ),
                "the name is \"größe\"",
            ),
            (
                parse_quote!(
                    struct In {
                        #[input(help = #long)]
                        a: String,
                    }
                ),
                "the help has 4097 bytes, expected at most 4096",
            ),
            (
                parse_quote!(
                    struct In {
                        #(#many: String,)*
                    }
                ),
                "there are 201 inputs, expected at most 200",
            ),
        ];
        for (item, expected) in &cases {
            let message = inputs(item).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
        let item: DeriveInput = parse_quote!(
            struct Out {
                #[output(secret)]
                a: String,
            }
        );
        assert_eq!(outputs(&item).expect_err("a secret output").to_string(), "expected name or help");
        let item: DeriveInput = parse_quote!(
            struct Set {
                #[setting(secret)]
                a: String,
            }
        );
        let message = settings(&item).expect_err("a secret text").to_string();
        assert!(message.contains("a field of the type Secret"), "{message}");
        let item: DeriveInput = parse_quote!(
            #[settings(chek = f)]
            struct Set {
                a: String,
            }
        );
        assert_eq!(settings(&item).expect_err("no check").to_string(), "expected check = <function>");
    }

    #[test]
    fn help_is_the_doc_comment_unless_it_is_given() {
        let item: DeriveInput = parse_quote! {
            struct In {
                /// One line,
                /// continued.
                a: String,
                /// Not this.
                #[input(help = "This")]
                r#type: String,
            }
        };
        let members = members(&item, "input", "").expect("two");
        let told: Vec<_> =
            members.iter().map(|member| (member.name.as_str(), member.help.as_str())).collect();
        assert_eq!(told, [("a", "One line, continued."), ("type", "This")]);
    }
}
