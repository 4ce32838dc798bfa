mod golden;
mod scaler;
mod timeline;
