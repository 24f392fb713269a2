"""`rvm-export demo`: a page that mattes a webcam, a video or a picture with our files, in the browser."""
