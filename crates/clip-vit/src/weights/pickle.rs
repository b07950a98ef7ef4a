//! A reader for the pickles of PyTorch archives that executes nothing: it knows containers, numbers, text
//! and tensors, and refuses every other class or function by name.
//!
//! Every value lies in a flat list, so a hostile pickle can neither recurse nor allocate more than a few
//! times its own size.
//!
//! Source: CPython `Lib/pickletools.py`; PyTorch `torch/serialization.py` and `torch/_utils.py`.

use std::collections::HashMap;
use std::rc::Rc;

use safetensors::Dtype;

use super::archive::storage_dtype;

const HIGHEST_RANK: usize = 8;

/// A value; containers are indices into [`Pickled::items`].
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(Rc<str>),
    Tuple(usize),
    List(usize),
    /// Keys and values in turn.
    Dict(usize),
    /// Attribute names and values in turn.
    Object(usize),
    Storage(Rc<Storage>),
    /// Index into [`Pickled::tensors`].
    Tensor(usize),
    Global(Global),
    Mark,
}

/// A class or function that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    /// Functions that return their first argument: parameters, typed lists.
    First,
    /// The element type of a storage.
    StorageClass(Dtype),
    /// A TorchScript module.
    Module,
}

/// An entry `data/{key}` of the archive.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    pub(super) key: String,
}

/// A view of a storage; offset and strides in elements.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) storage: Rc<Storage>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickled {
    pub(super) root: Value,
    pub(super) items: Vec<Vec<Value>>,
    pub(super) tensors: Vec<Tensor>,
}

/// Reads a pickle of protocol 2 to 5.
pub(super) fn read(bytes: &[u8]) -> Result<Pickled, String> {
    read_first(bytes).map(|(pickled, _)| pickled)
}

/// The same of the first pickle among others, and its length in bytes.
pub(super) fn read_first(bytes: &[u8]) -> Result<(Pickled, usize), String> {
    let mut machine = Machine {
        rest: bytes,
        stack: Vec::new(),
        memo: HashMap::new(),
        items: Vec::new(),
        tensors: Vec::new(),
    };
    loop {
        let position = bytes.len() - machine.rest.len();
        let step = machine.step().map_err(|e| format!("{e} (at byte {position})"))?;
        if let Some(root) = step {
            let length = bytes.len() - machine.rest.len();
            let Machine { items, tensors, .. } = machine;
            return Ok((Pickled { root, items, tensors }, length));
        }
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    items: Vec<Vec<Value>>,
    tensors: Vec<Tensor>,
}

impl Machine<'_> {
    /// Executes one instruction; the root once it is finished.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let code = self.byte()?;
        match code {
            0x80 => _ = self.byte()?,            // PROTO
            0x95 => _ = self.take(8)?,           // FRAME
            b'.' => return self.pop().map(Some), // STOP
            b'(' => self.stack.push(Value::Mark),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_mark()?,
            b'2' => {
                let top = self.stack.last().ok_or("empty stack")?.clone();
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(n.into()));
            }
            0x8a => {
                // LONG1: little-endian two's complement of any length
                let n = usize::from(self.byte()?);
                let bytes = self.take(n)?;
                if n > 8 {
                    return Err("an integer of more than 64 bits".into());
                }
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut word = if negative { [0xff; 8] } else { [0; 8] };
                word[..n].copy_from_slice(bytes);
                self.stack.push(Value::Int(i64::from_le_bytes(word)));
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Float);
            }
            b'X' | b'T' => {
                let n = u32::from_le_bytes(self.array()?) as usize;
                self.text(n)?;
            }
            0x8c | b'U' => {
                let n = usize::from(self.byte()?);
                self.text(n)?;
            }
            b']' => self.push_items(Vec::new(), Value::List),
            b')' => self.push_items(Vec::new(), Value::Tuple),
            b'}' => self.push_items(Vec::new(), Value::Dict),
            b't' => {
                let values = self.pop_mark()?;
                self.push_items(values, Value::Tuple);
            }
            b'l' => {
                let values = self.pop_mark()?;
                self.push_items(values, Value::List);
            }
            0x85..=0x87 => {
                let n = usize::from(code - 0x84);
                let start = self.stack.len().checked_sub(n).ok_or("empty stack")?;
                let values = self.stack.split_off(start);
                self.push_items(values, Value::Tuple);
            }
            b'a' => {
                let value = self.pop()?;
                self.extend(vec![value])?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend(vec![key, value])?;
            }
            b'e' | b'u' => {
                let values = self.pop_mark()?;
                self.extend(values)?;
            }
            b'q' => {
                let key = self.byte()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let key = self.byte()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.stack.push(Value::Global(global(&module, &name)?));
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.stack.push(Value::Global(global(&module, &name)?))
                }
                _ => return Err("a class whose name is no text".into()),
            },
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let value = self.call(function, arguments)?;
                self.stack.push(value);
            }
            b'b' => self.build()?,
            b'Q' => {
                let value = self.pop()?;
                let value = self.persistent(value)?;
                self.stack.push(value);
            }
            other => return Err(format!("instruction {other:#04x}, which tensors do not need")),
        }
        Ok(None)
    }

    fn take(&mut self, n: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn line(&mut self) -> Result<String, String> {
        let n = self.rest.iter().position(|byte| *byte == b'\n').ok_or("it ends too early")?;
        let line = String::from_utf8_lossy(self.take(n)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn integer(&mut self, n: usize) -> Result<(), String> {
        let mut word = [0; 8];
        word[..n].copy_from_slice(self.take(n)?);
        self.stack.push(Value::Int(i64::from_le_bytes(word)));
        Ok(())
    }

    fn text(&mut self, n: usize) -> Result<(), String> {
        let text: Rc<str> = String::from_utf8_lossy(self.take(n)?).into();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "empty stack".into())
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let is_mark = |value: &Value| matches!(value, Value::Mark);
        let mark = self.stack.iter().rposition(is_mark).ok_or("no mark on the stack")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn push_items(&mut self, values: Vec<Value>, kind: fn(usize) -> Value) {
        self.items.push(values);
        self.stack.push(kind(self.items.len() - 1));
    }

    /// Appends to the list or dictionary on top of the stack.
    fn extend(&mut self, values: Vec<Value>) -> Result<(), String> {
        match self.stack.last() {
            Some(Value::List(index) | Value::Dict(index)) => self.items[*index].extend(values),
            other => return Err(format!("items for {other:?}")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let top = self.stack.last().ok_or("empty stack")?.clone();
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let value =
            self.memo.get(&key).ok_or_else(|| format!("nothing remembered under {key}"))?.clone();
        self.stack.push(value);
        Ok(())
    }

    fn tuple(&self, value: &Value) -> Result<&[Value], String> {
        match value {
            Value::Tuple(index) => Ok(&self.items[*index]),
            other => Err(format!("expected a tuple, got {other:?}")),
        }
    }

    fn call(&mut self, function: Value, arguments: Value) -> Result<Value, String> {
        // No function needs more than its first four.
        let arguments: Vec<Value> = self.tuple(&arguments)?.iter().take(4).cloned().collect();
        match (function, arguments.as_slice()) {
            (Value::Global(Global::OrderedDict), []) => {
                self.items.push(Vec::new());
                Ok(Value::Dict(self.items.len() - 1))
            }
            (Value::Global(Global::Module), []) => {
                self.items.push(Vec::new());
                Ok(Value::Object(self.items.len() - 1))
            }
            (Value::Global(Global::First), [first, ..]) => Ok(first.clone()),
            (Value::Global(Global::RebuildTensor), [storage, offset, shape, strides, ..]) => {
                let Value::Storage(storage) = storage else {
                    return Err(format!("a tensor without storage: {storage:?}"));
                };
                let sizes = |value: &Value| match self.tuple(value)? {
                    sizes if sizes.len() <= HIGHEST_RANK => {
                        sizes.iter().map(size).collect::<Result<Vec<_>, _>>()
                    }
                    sizes => Err(format!("a tensor of {} axes", sizes.len())),
                };
                let tensor = Tensor {
                    storage: storage.clone(),
                    offset: size(offset)?,
                    shape: sizes(shape)?,
                    strides: sizes(strides)?,
                };
                if tensor.shape.len() != tensor.strides.len() {
                    return Err("a tensor with more sizes than strides, or fewer".into());
                }
                self.tensors.push(tensor);
                Ok(Value::Tensor(self.tensors.len() - 1))
            }
            (function, _) => Err(format!("a call of {function:?} with the wrong arguments")),
        }
    }

    /// Sets the attributes of a module. A dictionary's own attributes (`_metadata`) are dropped.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        match (self.stack.last(), state) {
            (Some(Value::Object(object)), Value::Dict(state)) => {
                let attributes = std::mem::take(&mut self.items[state]);
                self.items[*object].extend(attributes);
                Ok(())
            }
            (Some(Value::Dict(_)), _) => Ok(()),
            (object, state) => Err(format!("state {state:?} for {object:?}")),
        }
    }

    /// A storage: `("storage", class, key, location, elements)`.
    fn persistent(&self, value: Value) -> Result<Value, String> {
        match self.tuple(&value)? {
            [
                Value::Text(kind),
                Value::Global(Global::StorageClass(dtype)),
                Value::Text(key),
                ..,
            ] if &**kind == "storage" => {
                Ok(Value::Storage(Rc::new(Storage { dtype: *dtype, key: key.to_string() })))
            }
            other => Err(format!("expected a storage, got {other:?}")),
        }
    }
}

fn size(value: &Value) -> Result<usize, String> {
    match value {
        Value::Int(n) => usize::try_from(*n).map_err(|_| format!("a size of {n}")),
        other => Err(format!("expected a size, got {other:?}")),
    }
}

fn global(module: &str, name: &str) -> Result<Global, String> {
    let known = match (module, name) {
        ("collections", "OrderedDict") => Some(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Some(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") | ("torch", "Size") => Some(Global::First),
        (
            "torch.jit._pickle",
            "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist"
            | "restore_type_tag",
        ) => Some(Global::First),
        ("torch" | "torch.storage", class) => storage_dtype(class).map(Global::StorageClass),
        _ if module.starts_with("__torch__") => Some(Global::Module),
        _ => None,
    };
    known.ok_or_else(|| format!("it names {module}.{name}, which is no part of a tensor"))
}
