"""POST /deblur behind the HTTP: what a request says, the job it becomes, the work, and the picture that comes out."""
