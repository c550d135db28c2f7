//! `#[app]`: a function becomes the component's export `bellwether:plugin/app`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, ReturnType};

use crate::attributes::{RoleArguments, plain_function};

const SHAPE: &str = "an app is `fn name(host: &impl …, inputs: In) -> Result<Out, AppError>`, \
                     with `call: &Call` before the inputs where it is needed";

pub(crate) fn expand(arguments: &RoleArguments, function: &ItemFn) -> Result<TokenStream> {
    plain_function(function, "an app")?;
    let summary = arguments.summary_of(function)?;
    let name = &function.sig.ident;
    let parameters = types(function)?;
    let (inputs, call) = match parameters[..] {
        [_, inputs] => (inputs, None),
        [_, call, inputs] => (inputs, Some(quote_spanned!(call.span()=> call,))),
        _ => return Err(Error::new_spanned(&function.sig, SHAPE)),
    };
    if let ReturnType::Default = function.sig.output {
        return Err(Error::new(name.span(), SHAPE));
    }
    // Spans at the author's types, so that a missing derive or permission is reported where it is.
    let run = quote_spanned! {inputs.span()=>
        |call: &::bellwether_sdk::app::Call, inputs: #inputs| {
            let _ = call;
            #name(&::bellwether_sdk::host::Live, #call inputs)
        }
    };
    Ok(quote! {
        #function

        const _: () = {
            use ::bellwether_sdk::bindings::app::exports::bellwether::plugin::app as contract;

            struct App;

            impl contract::Guest for App {
                fn describe() -> contract::Description {
                    ::bellwether_sdk::app::expanded::describe(#summary, #run)
                }

                fn run(
                    call: contract::Call,
                    inputs: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                ) -> ::std::result::Result<::std::vec::Vec<::bellwether_sdk::NamedValue>, contract::AppError> {
                    ::bellwether_sdk::app::expanded::run(&call, inputs, #run)
                }
            }

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "what a component exports are functions over its raw memory")]
            const _: () = {
                ::bellwether_sdk::bindings::app::export!(App with_types_in ::bellwether_sdk::bindings::app);
            };
        };
    })
}

fn types(function: &ItemFn) -> Result<Vec<&syn::Type>> {
    let mut types = Vec::new();
    for parameter in &function.sig.inputs {
        match parameter {
            FnArg::Typed(parameter) => types.push(&*parameter.ty),
            receiver => return Err(Error::new_spanned(receiver, SHAPE)),
        }
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn message(function: &ItemFn) -> String {
        expand(&parse_quote!(), function).expect_err("no app").to_string()
    }

    #[test]
    fn a_function_of_another_shape_is_told_the_right_one() {
        let cases: [ItemFn; 5] = [
            parse_quote!(
                /** Summary. */
                fn run() -> Result<(), AppError> {
                    Ok(())
                }
            ),
            parse_quote!(
                /** Summary. */
                fn run(host: &impl Log) -> Result<(), AppError> {
                    Ok(())
                }
            ),
            parse_quote!(
                /** Summary. */
                fn run(a: A, b: B, c: C, d: D) -> Result<(), AppError> {
                    Ok(())
                }
            ),
            parse_quote!(
                /** Summary. */
                fn run(host: &impl Log, inputs: In) {}
            ),
            parse_quote!(
                /** Summary. */
                fn run(self, inputs: In) -> Result<(), AppError> {
                    Ok(())
                }
            ),
        ];
        for case in &cases {
            assert_eq!(message(case), SHAPE);
        }
    }

    #[test]
    fn an_app_needs_a_summary_and_no_executor() {
        let silent: ItemFn = parse_quote!(
            fn run(host: &impl Log, inputs: In) -> Result<(), AppError> {
                Ok(())
            }
        );
        assert!(message(&silent).contains("doc comment"), "{}", message(&silent));
        let waiting: ItemFn = parse_quote!(
            /** Summary. */
            async fn run(host: &impl Log, inputs: In) -> Result<(), AppError> {
                Ok(())
            }
        );
        assert!(message(&waiting).contains("cannot be async"), "{}", message(&waiting));
    }

    #[test]
    fn the_summary_is_the_first_paragraph_unless_it_is_given() {
        let function: ItemFn = parse_quote! {
            /// Opens a ticket
            /// for an alert.
            ///
            /// The rest is for readers of the code.
            fn run(host: &impl Log, inputs: In) -> Result<(), AppError> { Ok(()) }
        };
        let given: RoleArguments = parse_quote!(summary = "Another");
        assert_eq!(given.summary_of(&function).expect("one"), "Another");
        let none: RoleArguments = parse_quote!();
        assert_eq!(none.summary_of(&function).expect("one"), "Opens a ticket for an alert.");
        assert!(syn::parse_str::<RoleArguments>("name = \"x\"").is_err());
    }
}
