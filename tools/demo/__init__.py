"""`rvm-export demo`: a page that mattes a webcam, a video or a picture in the browser with exported files."""
