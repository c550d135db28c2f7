//! `#[app]`: a function becomes the component's export `bellwether:plugin/app`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{Error, GenericArgument, Ident, ItemFn, PathArguments, Result, ReturnType, Type};

use crate::attributes::{RoleArguments, one_of, plain_function, types};

const SHAPE: &str = "an app is `fn name(host: &impl …, inputs: In) -> Result<Out, AppError>`, \
                     with `call: &Call` before the inputs where it is needed";

pub(crate) fn expand(arguments: &RoleArguments, function: &ItemFn) -> Result<TokenStream> {
    plain_function(function, "an app")?;
    let summary = arguments.summary_of(function)?;
    let name = &function.sig.ident;
    let alone = format!("an app is a function of its own, outside of any impl; {SHAPE}");
    let parameters = types(function, &alone)?;
    // Names of ours must not hide an author's function of the same name.
    let site = Span::mixed_site();
    let (given, call) = (Ident::new("inputs", site), Ident::new("call", site));
    let (host, inputs, call_argument) = match parameters[..] {
        [host, inputs] => (host, inputs, None),
        [host, declared, inputs] => {
            if !matches!(declared, Type::Reference(_)) {
                let what = format!("an app takes one struct, with a field for each input; {SHAPE}");
                return Err(Error::new_spanned(declared, what));
            }
            (host, inputs, Some(quote_spanned!(declared.span()=> #call,)))
        }
        _ => return Err(Error::new_spanned(&function.sig, SHAPE)),
    };
    if !matches!(host, Type::Reference(_)) {
        let what = format!("the host comes first, and is lent: `host: &impl …`; {SHAPE}");
        return Err(Error::new_spanned(host, what));
    }
    if let Type::Reference(lent) = inputs {
        let what = format!("the inputs come last, and are given, without the `&`; {SHAPE}");
        return Err(Error::new_spanned(lent, what));
    }
    let ReturnType::Type(_, returned) = &function.sig.output else {
        return Err(Error::new(name.span(), SHAPE));
    };
    // Each step stands at the author's type it is about, so that a missing derive is reported there.
    let (takes, gives) = (inputs.span(), outputs_of(returned).span());
    let live = quote_spanned!(host.span()=> &::bellwether_sdk::host::Live);
    let run = quote_spanned! {site=>
        |#call: &::bellwether_sdk::app::Call, #given: #inputs| {
            let _ = #call;
            #name(#live, #call_argument #given)
        }
    };
    // What is passed counts as the place of a bound that does not hold. The author's function is not called after it
    // is bound, so that its name hides none.
    let outcome = Ident::new("outcome", gives);
    let describe_inputs = quote_spanned!(takes=> ::bellwether_sdk::app::expanded::inputs::<#inputs>());
    let describe_outputs = quote_spanned!(gives=> ::bellwether_sdk::app::expanded::outputs(#run));
    let read = quote_spanned!(takes=> ::bellwether_sdk::app::expanded::read_all::<#inputs>(#given)?);
    let write = quote_spanned!(gives=> ::bellwether_sdk::app::expanded::write_all(#outcome));
    let one = one_of("app", function);
    Ok(quote_spanned! {site=>
        #function
        #one

        const _: () = {
            use ::bellwether_sdk::bindings::app::exports::bellwether::plugin::app as __contract;

            struct __BellwetherApp;

            impl __contract::Guest for __BellwetherApp {
                fn describe() -> __contract::Description {
                    let (inputs, outputs) = (#describe_inputs, #describe_outputs);
                    __contract::Description { summary: ::std::string::String::from(#summary), inputs, outputs }
                }

                fn run(
                    #call: __contract::Call,
                    #given: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                    __contract::AppError,
                > {
                    let #given = #read;
                    let run = #run;
                    let #outcome = run(&#call, #given);
                    #write
                }
            }

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "what a component exports are functions over its raw memory")]
            const _: () = {
                ::bellwether_sdk::bindings::app::export!(
                    __BellwetherApp with_types_in ::bellwether_sdk::bindings::app
                );
            };
        };
    })
}

/// `Out` of `Result<Out, AppError>`, or the whole type where it is an alias.
fn outputs_of(returned: &Type) -> &Type {
    let Type::Path(path) = returned else { return returned };
    let Some(PathArguments::AngleBracketed(arguments)) =
        path.path.segments.last().map(|segment| &segment.arguments)
    else {
        return returned;
    };
    let first = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(first) => Some(first),
        _ => None,
    });
    first.unwrap_or(returned)
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
            assert!(message(case).ends_with(SHAPE), "{}", message(case));
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
