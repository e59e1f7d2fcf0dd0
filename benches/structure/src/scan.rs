//! What one file holds: methods by type, functions, imports, raw scalars, tests.

use crate::files::Source;
use proc_macro2::LineColumn;
use quote::ToTokens;
use std::collections::BTreeMap;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// Names that have a type of their own where the code is strict, with the raw type they are found with elsewhere.
const SCALARS: [(&str, &str); 10] = [
    ("version", "i16"),
    ("at", "u64"),
    ("epoch", "i32"),
    ("correlation", "i32"),
    ("generation", "i32"),
    ("owner", "u32"),
    ("partition", "i32"),
    ("error", "i16"),
    ("offset", "i64"),
    ("producer_id", "i64"),
];

/// A function.
pub struct Function {
    pub name: String,
    /// From its signature to its closing brace.
    pub lines: usize,
    /// `self` included.
    pub parameters: usize,
    /// Whether it answers `Result<_, String>`.
    pub string_error: bool,
    pub test: bool,
}

/// What one file holds.
#[derive(Default)]
pub struct Scan {
    /// Methods of each type that stand in this file, tests left out.
    pub methods: BTreeMap<String, usize>,
    pub functions: Vec<Function>,
    /// Paths of imports that begin with `crate` or `super`, resolved to modules of the crate.
    pub imports: Vec<Vec<String>>,
    /// Raw scalars outside tests.
    pub scalars: BTreeMap<String, usize>,
    /// Functions with `#[test]`.
    pub tests: usize,
    /// `proptest!` blocks.
    pub properties: usize,
    /// Snapshot assertions.
    pub snapshots: usize,
    module: Vec<String>,
    in_tests: usize,
}

/// Reads one file.
pub fn file(source: &Source) -> Result<Scan, String> {
    let parsed = syn::parse_file(&source.text).map_err(|e| format!("{}: {e}", source.shown))?;
    let mut scan = Scan { module: source.module.clone(), in_tests: usize::from(source.test), ..Scan::default() };
    scan.visit_file(&parsed);
    Ok(scan)
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("cfg") && a.to_token_stream().to_string().contains("test"))
}

fn lines_between(from: LineColumn, to: LineColumn) -> usize {
    to.line + 1 - from.line
}

impl Scan {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block, attributes: &[syn::Attribute]) {
        let tested = attributes.iter().any(|a| a.path().is_ident("test"));
        self.tests += usize::from(tested);
        let answer = signature.output.to_token_stream().to_string().replace(' ', "");
        self.functions.push(Function {
            name: signature.ident.to_string(),
            lines: lines_between(signature.span().start(), block.span().end()),
            parameters: signature.inputs.len(),
            string_error: answer.starts_with("->Result<") && answer.ends_with(",String>"),
            test: tested || self.in_tests > 0,
        });
    }

    fn scalar(&mut self, name: &str, ty: &syn::Type) {
        let ty = ty.to_token_stream().to_string();
        if self.in_tests == 0 && SCALARS.contains(&(name, ty.as_str())) {
            *self.scalars.entry(format!("{name}: {ty}")).or_default() += 1;
        }
    }

    fn import(&mut self, tree: &syn::UseTree, path: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(p) => {
                path.push(p.ident.to_string());
                self.import(&p.tree, path);
                path.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, path)),
            syn::UseTree::Name(name) => self.imported(path, &name.ident.to_string()),
            syn::UseTree::Rename(name) => self.imported(path, &name.ident.to_string()),
            syn::UseTree::Glob(_) => self.imported(path, "*"),
        }
    }

    fn imported(&mut self, path: &[String], last: &str) {
        let mut whole = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for part in path.iter().map(String::as_str).chain([last]) {
            match part {
                "crate" | "self" | "*" => {}
                "super" => drop(whole.pop()),
                name => whole.push(name.to_owned()),
            }
        }
        self.imports.push(whole);
    }
}

impl<'ast> Visit<'ast> for Scan {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        let test = usize::from(is_test(&node.attrs));
        self.in_tests += test;
        if node.content.is_some() {
            self.module.push(node.ident.to_string());
            syn::visit::visit_item_mod(self, node);
            self.module.pop();
        }
        self.in_tests -= test;
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        if self.in_tests == 0 {
            self.import(&node.tree, &mut Vec::new());
        }
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if let syn::Type::Path(path) = &*node.self_ty
            && let Some(last) = path.path.segments.last()
            && self.in_tests == 0
        {
            let methods = node.items.iter().filter(|i| matches!(i, syn::ImplItem::Fn(_))).count();
            *self.methods.entry(last.ident.to_string()).or_default() += methods;
        }
        syn::visit::visit_item_impl(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.function(&node.sig, &node.block, &node.attrs);
        syn::visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.sig, &node.block, &node.attrs);
        syn::visit::visit_impl_item_fn(self, node);
    }

    fn visit_fn_arg(&mut self, node: &'ast syn::FnArg) {
        if let syn::FnArg::Typed(arg) = node
            && let syn::Pat::Ident(name) = &*arg.pat
        {
            self.scalar(&name.ident.to_string(), &arg.ty);
        }
        syn::visit::visit_fn_arg(self, node);
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if let Some(name) = &node.ident {
            self.scalar(&name.to_string(), &node.ty);
        }
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        let name = node.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        self.properties += usize::from(name == "proptest");
        self.snapshots += usize::from(name.ends_with("snapshot"));
    }
}
