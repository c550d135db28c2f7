//! `#[derive(Choice)]`: an enum without fields becomes a fixed set of texts.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result};

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &item.data else {
        return Err(Error::new(item.ident.span(), "#[derive(Choice)] goes on an enum"));
    };
    if data.variants.is_empty() {
        return Err(Error::new(item.ident.span(), "a choice has at least one case"));
    }
    let identifier = &item.ident;
    let mut cases: Vec<_> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                &variant.fields,
                "a case of a choice is a text and holds nothing else",
            ));
        }
        let mut text = kebab_case(&variant.ident.to_string());
        for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("choice")) {
            text = attribute.parse_args::<LitStr>()?.value();
        }
        if texts.contains(&text) {
            return Err(Error::new(variant.ident.span(), format!("there is a case {text:?} already")));
        }
        texts.push(text);
        cases.push(&variant.ident);
    }
    Ok(quote! {
        impl ::bellwether_sdk::Choice for #identifier {
            const CASES: &'static [(&'static str, Self)] = &[#((#texts, Self::#cases)),*];

            fn text(self) -> &'static str {
                match self {
                    #(Self::#cases => #texts),*
                }
            }
        }

        impl ::bellwether_sdk::FromValue for #identifier {
            const TYPE: ::bellwether_sdk::ValueType = ::bellwether_sdk::ValueType::Text;

            fn choices() -> ::std::vec::Vec<::std::string::String> {
                ::std::vec![#(::std::string::String::from(#texts)),*]
            }

            fn from_value(
                value: ::bellwether_sdk::Value,
            ) -> ::std::result::Result<Self, ::bellwether_sdk::Mismatch> {
                <Self as ::bellwether_sdk::Choice>::read(&value)
            }
        }

        impl ::bellwether_sdk::IntoValue for #identifier {
            const TYPE: ::bellwether_sdk::ValueType = ::bellwether_sdk::ValueType::Text;

            fn into_value(self) -> ::bellwether_sdk::Value {
                ::bellwether_sdk::Value::Text(::bellwether_sdk::Choice::text(self).into())
            }
        }
    })
}

/// `OnCall` as `on-call`.
fn kebab_case(name: &str) -> String {
    let mut text = String::new();
    for (index, character) in name.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            text.push('-');
        }
        text.extend(character.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn only_an_enum_of_distinct_texts_is_a_choice() {
        let cases: [(DeriveInput, &str); 4] = [
            (
                parse_quote!(
                    struct A;
                ),
                "goes on an enum",
            ),
            (
                parse_quote!(
                    enum A {}
                ),
                "at least one case",
            ),
            (
                parse_quote!(
                    enum A {
                        B(u8),
                    }
                ),
                "holds nothing else",
            ),
            (
                parse_quote!(
                    enum A {
                        B,
                        #[choice("b")]
                        C,
                    }
                ),
                "there is a case \"b\" already",
            ),
        ];
        for (item, expected) in &cases {
            let message = expand(item).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_case_is_named_in_kebab_case() {
        for (name, text) in [("Low", "low"), ("OnCall", "on-call"), ("P1", "p1")] {
            assert_eq!(kebab_case(name), text);
        }
    }
}
