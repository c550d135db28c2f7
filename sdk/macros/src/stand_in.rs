//! What stands beside the error where a derive is refused: the trait with nothing behind it. Without it the compiler would
//! say wherever the type is used that it has no derive, which it has.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error};

pub(crate) fn inputs(item: &DeriveInput, error: &Error) -> TokenStream {
    let error_type = quote!(::bellwether_sdk::AppError);
    beside(item, error, &quote!(::bellwether_sdk::Inputs), &reader(&error_type))
}

pub(crate) fn settings(item: &DeriveInput, error: &Error) -> TokenStream {
    let error_type = quote!(::bellwether_sdk::SettingError);
    let reader = reader(&error_type);
    let holds = quote! {
        const SECRET: bool = false;
        const REQUIRED: bool = false;
        #reader
    };
    beside(item, error, &quote!(::bellwether_sdk::Settings), &holds)
}

pub(crate) fn outputs(item: &DeriveInput, error: &Error) -> TokenStream {
    let holds = quote! {
        fn describe() -> ::std::vec::Vec<::bellwether_sdk::app::Output> {
            ::std::unreachable!()
        }

        fn write(self) -> ::std::vec::Vec<::bellwether_sdk::NamedValue> {
            ::std::unreachable!()
        }
    };
    beside(item, error, &quote!(::bellwether_sdk::Outputs), &holds)
}

pub(crate) fn choice(item: &DeriveInput, error: &Error) -> TokenStream {
    // Of what is no enum the trait might ask for more than it has.
    let Data::Enum(_) = &item.data else { return error.to_compile_error() };
    let choice = quote! {
        const CASES: &'static [(&'static str, Self)] = &[];

        fn text(self) -> &'static str {
            ::std::unreachable!()
        }
    };
    let from_value = quote! {
        const TYPE: ::bellwether_sdk::ValueType = ::bellwether_sdk::ValueType::Text;

        fn from_value(
            _: ::bellwether_sdk::Value,
        ) -> ::std::result::Result<Self, ::bellwether_sdk::Mismatch> {
            ::std::unreachable!()
        }
    };
    let into_value = quote! {
        const TYPE: ::bellwether_sdk::ValueType = ::bellwether_sdk::ValueType::Text;

        fn into_value(self) -> ::bellwether_sdk::Value {
            ::std::unreachable!()
        }
    };
    let written = [
        beside(item, error, &quote!(::bellwether_sdk::Choice), &choice),
        implementation(item, &quote!(::bellwether_sdk::FromValue), &from_value),
        implementation(item, &quote!(::bellwether_sdk::IntoValue), &into_value),
    ];
    written.into_iter().collect()
}

/// What inputs and settings have.
fn reader(error: &TokenStream) -> TokenStream {
    quote! {
        fn describe() -> ::std::vec::Vec<::bellwether_sdk::app::Input> {
            ::std::unreachable!()
        }

        fn read(
            _: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
        ) -> ::std::result::Result<Self, #error> {
            ::std::unreachable!()
        }
    }
}

fn beside(item: &DeriveInput, error: &Error, implements: &TokenStream, holds: &TokenStream) -> TokenStream {
    let (error, implementation) = (error.to_compile_error(), implementation(item, implements, holds));
    quote!(#error #implementation)
}

fn implementation(item: &DeriveInput, implements: &TokenStream, holds: &TokenStream) -> TokenStream {
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let identifier = &item.ident;
    quote! {
        impl #generics #implements for #identifier #arguments #bounds {
            #holds
        }
    }
}
